"""Measures of a classifier: accuracy, recall, F1, likelihood, confusion.

Every measure of `metrics` depends on the faces through sums only: the confusion matrix, the summed NLL
and Brier scores, and faces, confidence and hits in each bin of confidence. Summed within each photo once,
a thousand resamples of photos are one product of weights (resamples, photos) and sums (photos, columns).

A class that stands in the test set but is never predicted has precision 0 and F1 0. A class without a
face in the test set has none of the three (NaN), and macro averages leave it out: its precision cannot
be earned there. So macro recall is the unweighted average recall (Schuller et al., 2009) in every case.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.base.classes import N_EXPRESSIONS, class_names
from mien.evaluation.calibration import confidence_bin, expected_calibration_error
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


MEASURES: Final = (
    "accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "unweighted_average_recall",
    "nll",
    "brier",
    "ece",
)
CLASS_MEASURES: Final = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassScores:
    """One class's precision, recall and F1 (NaN where `support`, its faces in the test set, is 0)."""

    precision: float
    recall: float
    f1: float
    support: int


def confusion_counts(labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> Ints:
    """(classes, classes) int64: rows are true classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(
        checked_labels(labels, classes), checked_labels(predicted, classes), labels=range(classes)
    )
    return np.asarray(counts, dtype=np.int64)


def scores_per_class(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = N_EXPRESSIONS
) -> dict[str, ClassScores]:
    """Precision, recall, F1 and support of each expression, in the order of the classes."""
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        checked_labels(labels, classes), checked_labels(predicted, classes), labels=range(classes), zero_division=0
    )
    scores = {}
    for name, precision, recall, f1, support in zip(class_names(classes), *columns, strict=True):
        missing = 0.0 if support else np.nan
        scores[name] = ClassScores(
            float(precision + missing), float(recall + missing), float(f1 + missing), int(support)
        )
    return scores


def measure(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> dict[str, float]:
    """All of MEASURES for probabilities (N, classes); the prediction is the most probable class.

    NLL is the mean of -ln p(true class) in nats, with p no smaller than float64's epsilon. Brier is the
    multi-class sum (Brier, 1950): mean over faces of the squared distance to the one-hot label, 0 to 2.
    """
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    classes = classes_of(probabilities)
    truth = checked_labels(labels, classes)
    given = checked_probabilities(probabilities, len(truth))
    predicted = given.argmax(axis=1)
    present = [s for s in scores_per_class(truth, predicted, classes).values() if s.support]
    recall = float(np.mean([s.recall for s in present]))
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_precision": float(np.mean([s.precision for s in present])),
        "macro_recall": recall,
        "macro_f1": float(np.mean([s.f1 for s in present])),
        "unweighted_average_recall": recall,
        "nll": float(log_loss(truth, given, labels=range(classes))),
        "brier": float(brier_score_loss(truth, given, labels=range(classes), scale_by_half=False)),
        "ece": expected_calibration_error(truth, given, bins),
    }


def majority(labels: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> tuple[str, float]:
    """The most frequent class and its share: what always answering it would score."""
    counts = np.bincount(checked_labels(labels, classes), minlength=classes)
    return class_names(classes)[int(counts.argmax())], float(counts.max() / counts.sum())


@dataclass(frozen=True)
class ConfusedPair:
    """Faces of one class that were predicted as another one.

    `share` is their share of the true class's faces; `rows` are the positions of the most confident of
    them among the test faces, `probabilities` what the model gave its wrong answer there.
    """

    true: str
    predicted: str
    faces: int
    share: float
    rows: Ints
    probabilities: Floats


def most_confused(labels: Ints, probabilities: Floats, *, pairs: int, faces: int) -> tuple[ConfusedPair, ...]:
    """The pairs of classes with the most wrong faces, at most `pairs`, with at most `faces` faces each.

    Pairs of equal counts are ordered by their share of the true class, then by the classes' order. A model
    without an error gives none.
    """
    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(labels, predicted, probabilities.shape[1])
    support = counts.sum(axis=1)
    wrong = [(t, p) for t, p in np.argwhere(counts) if t != p]
    wrong.sort(key=lambda pair: (-counts[pair], -counts[pair] / support[pair[0]]))
    return tuple(_pair(t, p, labels, predicted, probabilities, support[t], faces) for t, p in wrong[:pairs])


def _pair(
    true: int,
    answer: int,
    labels: Ints,
    predicted: npt.NDArray[np.intp],
    probabilities: Floats,
    support: int,
    faces: int,
) -> ConfusedPair:
    rows = np.flatnonzero((labels == true) & (predicted == answer))
    order = rows[np.argsort(-probabilities[rows, answer], kind="stable")][:faces]
    names = class_names(probabilities.shape[1])
    return ConfusedPair(
        names[true],
        names[answer],
        len(rows),
        float(len(rows) / support),
        order,
        probabilities[order, answer],
    )
