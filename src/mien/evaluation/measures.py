"""Measures of a classifier: accuracy, recall, F1, likelihood, Brier score, calibration error, confusion matrix.

Every measure depends on the faces through sums only: the confusion matrix, the summed NLL and Brier scores, and faces,
confidence and hits in each bin of confidence. Summed within each photo once, a thousand resamples of photos are one
product of weights (resamples, photos) and sums (photos, columns).

A class that stands in the test set but is never predicted has precision 0 and F1 0. A class without a face in the test
set has none of the three (NaN), and macro averages leave it out: its precision cannot be earned there. So macro recall
is the unweighted average recall (Schuller et al., 2009) in every case.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.base.classes import CLASS_SETS, N_EXPRESSIONS, class_names
from mien.base.errors import UserError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

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


def measure(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> dict[str, float]:
    """All of MEASURES for probabilities (N, classes); the prediction is the most probable class.

    NLL is the mean of -ln p(true class) in nats, with p no smaller than float64's epsilon. Brier is the multi-class sum
    (Brier, 1950): mean over faces of the squared distance to the one-hot label, 0 to 2. ECE is the mean distance of
    confidence and accuracy over the faces, by equal-width bins of confidence, 0 to 1 (Guo et al., 2017).
    """
    sums = face_sums(labels, probabilities, bins).sum(axis=0, keepdims=True)
    return {name: float(values[0]) for name, values in measures(sums, bins).items()}


def face_sums(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int) -> Floats:
    """Each face's share in the sums, (N, classes**2 + 2 + 3 * bins): confusion cells, NLL, Brier, then the bins."""
    classes = classes_of(probabilities)
    truth = checked_labels(labels, classes)
    given = checked_probabilities(probabilities, len(truth))
    predicted, confidence = given.argmax(axis=1), given.max(axis=1)
    epsilon = np.finfo(np.float64).eps
    nll = -np.log(np.clip(given[np.arange(len(truth)), truth], epsilon, 1 - epsilon))
    brier = ((given - np.eye(classes)[truth]) ** 2).sum(axis=1)
    in_bin = np.eye(bins)[confidence_bin(confidence, bins)]
    hit = (predicted == truth).astype(np.float64)
    cells = np.eye(classes**2)[truth * classes + predicted]
    return np.column_stack([cells, nll, brier, in_bin, in_bin * confidence[:, None], in_bin * hit[:, None]])


def measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """All of MEASURES, each (R,), of sums of `face_sums` (R, columns)."""
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


def class_measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """Precision, recall and F1 per class, each (R, classes), of sums of `face_sums`; NaN where a class has no face."""
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


def _classes(sums: Floats, bins: int) -> int:
    return math.isqrt(sums.shape[1] - 2 - 3 * bins)


def confidence_bin(confidence: Floats, bins: int) -> Ints:
    """The bin of each confidence, 0 to bins - 1: bin m holds (m/bins, (m+1)/bins], as in Guo et al."""
    # Rounded, so that the last bit of 1/7 from a uniform model does not decide its bin.
    chosen: Ints = np.clip(np.ceil(np.round(confidence * bins, 9)) - 1, 0, bins - 1).astype(np.int64)
    return chosen


def confusion_counts(labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> Ints:
    """Confusion matrix, (classes, classes) int64: rows are true classes, columns predicted ones."""
    cells = checked_labels(labels, classes) * classes + checked_labels(predicted, classes)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


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


def top_confusions(labels: Ints, probabilities: Floats, *, pairs: int, faces: int) -> tuple[ConfusedPair, ...]:
    """The pairs of classes with the most wrong faces, at most `pairs`, with at most `faces` faces each.

    Pairs of equal counts are ordered by their share of the true class, then by the classes' order. A model
    without an error gives none.
    """
    predicted, names = probabilities.argmax(axis=1), class_names(probabilities.shape[1])
    counts = confusion_counts(labels, predicted, len(names))
    support = counts.sum(axis=1)
    wrong = [(t, p) for t, p in np.argwhere(counts) if t != p]
    wrong.sort(key=lambda pair: (-counts[pair], -counts[pair] / support[pair[0]]))
    top = []
    for true, answer in wrong[:pairs]:
        rows = np.flatnonzero((labels == true) & (predicted == answer))
        surest = rows[np.argsort(-probabilities[rows, answer], kind="stable")][:faces]
        share = float(len(rows) / support[true])
        top.append(ConfusedPair(names[true], names[answer], len(rows), share, surest, probabilities[surest, answer]))
    return tuple(top)


def checked_labels(labels: npt.ArrayLike, classes: int = N_EXPRESSIONS) -> Ints:
    """Labels as (N,) int64, positions in `class_names(classes)`.

    Raises:
        ValueError: there is none, or one that is no whole number from 0 to classes - 1.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"labels must be one row of at least one face, not of shape {given.shape}")
    whole = given.astype(np.int64)
    if (whole != given).any() or whole.min() < 0 or whole.max() >= classes:
        raise ValueError(f"labels must be whole numbers from 0 to {classes - 1}")
    return whole


def classes_of(answers: npt.ArrayLike) -> int:
    """The number of classes of probabilities or logits (N, classes); 7 for another shape, which is refused later."""
    shape = np.shape(answers)
    return shape[1] if len(shape) == 2 and shape[1] in CLASS_SETS else N_EXPRESSIONS


def checked_probabilities(probabilities: npt.ArrayLike, n: int) -> Floats:
    """Probabilities as (n, classes) float64 whose rows sum to 1 exactly enough for float64.

    Raises:
        ValueError: another shape, NaN, or rows that are no probabilities.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    _refuse_shape("probabilities", given, n)
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or np.abs(total - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be 0 or above and sum to 1")
    normed: Floats = given / total
    return normed


def checked_logits(logits: npt.ArrayLike, n: int) -> Floats:
    """Logits as (n, classes) float64.

    Raises:
        ValueError: another shape.
        UserError: NaN or infinity, which a diverged training leaves.
    """
    given = np.asarray(logits, dtype=np.float64)
    _refuse_shape("logits", given, n)
    bad = int((~np.isfinite(given).all(axis=1)).sum())
    if bad:
        raise UserError(
            f"the model gives no finite logits for {bad} of {n} faces: its training has diverged; "
            "train again with a lower learning rate"
        )
    return given


def _refuse_shape(what: str, given: Array, n: int) -> None:
    if given.ndim != 2 or len(given) != n or given.shape[1] not in CLASS_SETS:
        columns = " or ".join(map(str, CLASS_SETS))
        raise ValueError(f"{what} must have {n} rows of {columns} classes, not shape {given.shape}")
