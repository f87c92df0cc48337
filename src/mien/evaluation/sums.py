"""Measures as functions of sums over faces, so that a resample costs one row of a matrix product.

Every measure of `metrics` depends on the faces through sums only: the confusion matrix, the summed NLL
and Brier scores, and faces, confidence and hits in each bin of confidence. Summed within each photo once,
a thousand resamples of photos are one product of weights (resamples, photos) and sums (photos, columns).
"""

import math

import numpy as np
import numpy.typing as npt

from mien.evaluation.calibration import confidence_bin
from mien.evaluation.checks import Floats, Ints, checked_labels, checked_probabilities, classes_of


def _one_hot(columns: Ints, n_columns: int) -> Floats:
    return np.eye(n_columns)[columns]


def face_sums(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int) -> Floats:
    """Each face's share in the sums, (N, classes**2 + 2 + 3 * bins): confusion cells, NLL, Brier, then the bins."""
    classes = classes_of(probabilities)
    truth = checked_labels(labels, classes)
    given = checked_probabilities(probabilities, len(truth))
    predicted, confidence = given.argmax(axis=1), given.max(axis=1)
    epsilon = np.finfo(np.float64).eps
    nll = -np.log(np.clip(given[np.arange(len(truth)), truth], epsilon, 1 - epsilon))
    brier = ((given - _one_hot(truth, classes)) ** 2).sum(axis=1)
    where = _one_hot(confidence_bin(confidence, bins), bins)
    hit = (predicted == truth).astype(np.float64)
    cells = _one_hot(truth * classes + predicted, classes**2)
    return np.column_stack([cells, nll, brier, where, where * confidence[:, None], where * hit[:, None]])


def _classes(sums: Floats, bins: int) -> int:
    return math.isqrt(sums.shape[1] - 2 - 3 * bins)


def class_measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """Precision, recall and F1 per class, each (R, classes), of `face_sums`' sums; NaN where a class has no face."""
    classes = _classes(sums, bins)
    cells = sums[:, : classes**2].reshape(-1, classes, classes)
    hits = np.diagonal(cells, axis1=1, axis2=2)
    support, guesses = cells.sum(axis=2), cells.sum(axis=1)
    missing = np.where(support > 0, 0.0, np.nan)
    return {
        "precision": hits / np.where(guesses > 0, guesses, 1) + missing,
        "recall": hits / np.where(support > 0, support, 1) + missing,
        "f1": 2 * hits / np.where(support + guesses > 0, support + guesses, 1) + missing,
    }


def measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """All of `metrics.MEASURES`, each (R,), of `face_sums`' sums (R, columns)."""
    cells = _classes(sums, bins) ** 2
    n = sums[:, :cells].sum(axis=1)
    _, confidence, right = np.split(sums[:, cells + 2 :], [bins, 2 * bins], axis=1)
    macro = {name: np.nanmean(values, axis=1) for name, values in class_measures(sums, bins).items()}
    return {
        "accuracy": right.sum(axis=1) / n,
        "macro_precision": macro["precision"],
        "macro_recall": macro["recall"],
        "macro_f1": macro["f1"],
        "unweighted_average_recall": macro["recall"],
        "nll": sums[:, cells] / n,
        "brier": sums[:, cells + 1] / n,
        "ece": np.abs(confidence - right).sum(axis=1) / n,
    }
