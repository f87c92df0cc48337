"""Measures as functions of sums over faces, so that a resample costs one row of a matrix product.

Every measure of `metrics` depends on the faces through sums only: the confusion matrix, the summed NLL
and Brier scores, and faces, confidence and hits in each bin of confidence. Summed within each photo once,
a thousand resamples of photos are one product of weights (resamples, photos) and sums (photos, columns).
"""

import numpy as np
import numpy.typing as npt

from mien.evaluation.calibration import confidence_bin
from mien.evaluation.checks import Floats, Ints, checked_labels, checked_probabilities
from mien.expressions import N_EXPRESSIONS

_CELLS = N_EXPRESSIONS**2


def _one_hot(columns: Ints, n_columns: int) -> Floats:
    return np.eye(n_columns)[columns]


def face_sums(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int) -> Floats:
    """Each face's share in the sums, (N, 51 + 3 * bins): confusion cells, NLL, Brier, then the bins."""
    truth = checked_labels(labels)
    given = checked_probabilities(probabilities, len(truth))
    predicted, confidence = given.argmax(axis=1), given.max(axis=1)
    epsilon = np.finfo(np.float64).eps
    nll = -np.log(np.clip(given[np.arange(len(truth)), truth], epsilon, 1 - epsilon))
    brier = ((given - _one_hot(truth, N_EXPRESSIONS)) ** 2).sum(axis=1)
    where = _one_hot(confidence_bin(confidence, bins), bins)
    hit = (predicted == truth).astype(np.float64)
    cells = _one_hot(truth * N_EXPRESSIONS + predicted, _CELLS)
    return np.column_stack([cells, nll, brier, where, where * confidence[:, None], where * hit[:, None]])


def class_measures(sums: Floats) -> dict[str, Floats]:
    """Precision, recall and F1 per class, each (R, 7), of sums (R, columns); NaN where a class has no face."""
    cells = sums[:, :_CELLS].reshape(-1, N_EXPRESSIONS, N_EXPRESSIONS)
    hits = np.diagonal(cells, axis1=1, axis2=2)
    support, guesses = cells.sum(axis=2), cells.sum(axis=1)
    missing = np.where(support > 0, 0.0, np.nan)
    return {
        "precision": hits / np.where(guesses > 0, guesses, 1) + missing,
        "recall": hits / np.where(support > 0, support, 1) + missing,
        "f1": 2 * hits / np.where(support + guesses > 0, support + guesses, 1) + missing,
    }


def measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """All of `metrics.MEASURES`, each (R,), of sums (R, 51 + 3 * bins)."""
    n = sums[:, :_CELLS].sum(axis=1)
    _, confidence, right = np.split(sums[:, _CELLS + 2 :], [bins, 2 * bins], axis=1)
    macro = {name: np.nanmean(values, axis=1) for name, values in class_measures(sums).items()}
    return {
        "accuracy": right.sum(axis=1) / n,
        "macro_precision": macro["precision"],
        "macro_recall": macro["recall"],
        "macro_f1": macro["f1"],
        "unweighted_average_recall": macro["recall"],
        "nll": sums[:, _CELLS] / n,
        "brier": sums[:, _CELLS + 1] / n,
        "ece": np.abs(confidence - right).sum(axis=1) / n,
    }
