"""Classification measures: accuracy, recall, F1, likelihood, Brier score, confusion matrix; and calibration.

Every measure depends on the faces through sums only: the confusion matrix, the summed NLL and Brier scores, and faces,
confidence and hits in each bin of confidence. Summed within each group once, a thousand resamples of groups are one
product of weights (resamples, groups) and sums (groups, columns).

A class that stands in the test set but is never predicted has precision 0 and F1 0. A class without a face in the test
set has none of the three (NaN), and macro averages leave it out: its precision cannot be earned there. So macro recall
is the unweighted average recall (Schuller et al., 2009) in every case.

Temperature scaling and reliability diagrams: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mien.base.errors import UserError
from mien.runtime.session import softmax

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

CLASS_MEASURES: Final = ("precision", "recall", "f1")
MACRO: Final = tuple(f"macro_{name}" for name in CLASS_MEASURES)
RECALL: Final = "unweighted_average_recall"
LIMITS: Final = (1e-3, 1e3)  # of a temperature
MEASURES: Final = ("accuracy", *MACRO, RECALL, "nll", "brier", "ece")


def measure(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> dict[str, float]:
    """All of MEASURES for probabilities (N, classes); the prediction is the most probable class.

    NLL is the mean of -ln p(true class) in nats, with p no smaller than float64's epsilon. Brier is the multi-class sum
    (Brier, 1950): mean over faces of the squared distance to the one-hot label, 0 to 2. ECE is the mean distance of
    confidence and accuracy over the faces, by equal-width bins of confidence, 0 to 1 (Guo et al., 2017).
    """
    found = measures(face_sums(labels, probabilities, bins).sum(axis=0, keepdims=True), bins)
    return {name: float(found[name][0]) for name in MEASURES}


def face_sums(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int) -> Floats:
    """Each face's share in the sums, (N, classes**2 + 2 + 3 * bins).

    They are the cells of the confusion matrix, NLL, Brier score, then faces, confidence and hits in each bin. A
    ValueError for NaN, or rows of probabilities that do not sum to 1.
    """
    truth, given = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    total = given.sum(axis=1, keepdims=True)
    if not np.isfinite(given).all() or given.min() < 0 or np.abs(total - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be 0 or above and sum to 1")
    given = given / total
    classes, predicted, confidence = given.shape[1], given.argmax(axis=1), given.max(axis=1)
    epsilon = np.finfo(np.float64).eps
    nll = -np.log(given[np.arange(len(truth)), truth].clip(epsilon, 1 - epsilon))
    brier = ((given - np.eye(classes)[truth]) ** 2).sum(axis=1)
    # Bin m holds (m/bins, (m+1)/bins], as in Guo et al. Rounded, so that the last bit of 1/7 does not decide a bin.
    place = np.clip(np.ceil(np.round(confidence * bins, 9)) - 1, 0, bins - 1).astype(np.int64)
    in_bin = np.eye(bins)[place]
    hit = (predicted == truth).astype(np.float64)
    cells = np.eye(classes**2)[truth * classes + predicted]
    return np.column_stack([cells, nll, brier, in_bin, in_bin * confidence[:, None], in_bin * hit[:, None]])


def measures(sums: Floats, bins: int) -> dict[str, Floats]:
    """MEASURES, each (R,), and CLASS_MEASURES, each (R, classes), of sums of `face_sums` (R, columns)."""
    classes = math.isqrt(sums.shape[1] - 2 - 3 * bins)
    ends = np.cumsum([classes**2, 1, 1, bins, bins])
    cells, nll, brier, faces, confidence, right = np.split(sums, ends, axis=1)
    n, matrix = faces.sum(axis=1), cells.reshape(-1, classes, classes)
    counts = ratios(matrix)
    missing = np.where(counts["recall"][1] > 0, 0.0, np.nan)
    by_class = {name: hits / np.where(trials > 0, trials, 1) + missing for name, (hits, trials) in counts.items()}
    macro = {f"macro_{name}": np.nanmean(values, axis=1) for name, values in by_class.items()}
    return {
        **by_class,
        **macro,
        "accuracy": right.sum(axis=1) / n,
        RECALL: macro["macro_recall"],
        "nll": nll[:, 0] / n,
        "brier": brier[:, 0] / n,
        "ece": np.abs(confidence - right).sum(axis=1) / n,
    }


def ratios(matrices: Floats) -> dict[str, tuple[Floats, Floats]]:
    """Numerators and denominators of CLASS_MEASURES, each (R, classes), from matrices as of `confusion_counts`, R."""
    right, support, called = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2), matrices.sum(axis=1)
    return {"precision": (right, called), "recall": (right, support), "f1": (2 * right, support + called)}


def confusion_counts(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """Confusion matrix, (classes, classes) int64: rows are true classes, columns predicted ones."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


@dataclass(frozen=True)
class ConfusedPair:
    """Faces of one class that were predicted as another one."""

    true: str
    predicted: str
    faces: int
    share: float  # of the true class's faces
    rows: Ints  # positions of the most confident of them among the test faces
    probabilities: Floats  # what the model gave its wrong answer there


def top_confusions(
    labels: Ints, probabilities: Floats, names: Sequence[str], *, pairs: int, faces: int
) -> tuple[ConfusedPair, ...]:
    """The pairs of classes with the most wrong faces, at most `pairs`, with at most `faces` faces each.

    Pairs of equal counts are ordered by their share of the true class, then by the classes' order.
    """
    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(labels, predicted, len(names))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = [(true, answer) for true, answer in np.argwhere(counts) if true != answer]
    wrong.sort(key=lambda pair: (-counts[pair], -shares[pair]))
    top = []
    for true, answer in wrong[:pairs]:
        rows = np.flatnonzero((labels == true) & (predicted == answer))
        surest = rows[np.argsort(-probabilities[rows, answer], kind="stable")][:faces]
        share, answers = float(shares[true, answer]), probabilities[surest, answer]
        top.append(ConfusedPair(names[true], names[answer], len(rows), share, surest, answers))
    return tuple(top)


def checked_logits(labels: npt.ArrayLike, logits: npt.ArrayLike) -> tuple[Ints, Floats]:
    """Labels (N,) int64 and logits (N, classes) float64; a UserError for a logit that is not finite."""
    given = np.asarray(logits, dtype=np.float64)
    if bad := int((~np.isfinite(given).all(axis=1)).sum()):
        raise UserError(
            f"the model gives no finite logits for {bad} of {len(given)} faces: its training has diverged; "
            "train again with a lower learning rate"
        )
    return np.asarray(labels, dtype=np.int64), given


@dataclass(frozen=True)
class Temperature:
    """A temperature, and the mean NLL of validation without and with it (nats); `note` says why it is no minimum."""

    value: float
    faces: int
    nll_before: float
    nll_after: float
    note: str = ""


@dataclass(frozen=True)
class Reliability:
    """Equal-width bins of confidence, each (bins,): edges, faces, mean confidence and accuracy (NaN: empty)."""

    low: Floats
    high: Floats
    faces: Ints
    confidence: Floats
    accuracy: Floats


def _nll(logits: Floats, labels: Ints, temperature: float) -> float:
    """Mean NLL in nats, from the logits: exact where a probability would be rounded to 0."""
    from scipy.special import logsumexp

    scaled = logits / temperature
    return float((logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean())


def _slope(inverse: float, logits: Floats, labels: Ints) -> float:
    """Derivative of the NLL by 1/T, in which the NLL is convex: it rises, so it has one root at most."""
    expected = (softmax(logits * inverse) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> Temperature:
    """The temperature that minimises the NLL of validation logits (N, classes), by root finding in 1/T.

    Where there is no such minimum, the note says so: with every face right the NLL falls forever as T falls, and
    sharpening on that evidence would be reckless, so T stays 1; with logits that point away from the labels it falls
    forever as T rises, so T is the upper limit, 1000. Logits that are not finite are a UserError.
    """
    from scipy.optimize import brentq

    truth, given = checked_logits(labels, logits)
    given = given - given.mean(axis=1, keepdims=True)
    flattest, sharpest = (_slope(1 / t, given, truth) for t in reversed(LIMITS))
    note = ""
    if sharpest <= 0:
        value, note = 1.0, "no validation face is predicted wrong: there is nothing to calibrate on"
    elif flattest >= 0:
        value, note = LIMITS[1], "the logits say nothing about the labels: flattened as far as the limit"
    else:
        value = float(1 / brentq(_slope, 1 / LIMITS[1], 1 / LIMITS[0], args=(given, truth), xtol=1e-12))
    return Temperature(value, len(truth), _nll(given, truth, 1.0), _nll(given, truth, value), note)


def reliability(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 15) -> Reliability:
    """Faces, mean confidence and accuracy in each equal-width bin of the predicted class's probability."""
    sums = face_sums(labels, probabilities, bins).sum(axis=0)
    faces, confidence, right = sums[-3 * bins :].reshape(3, bins)
    some = np.where(faces > 0, faces, np.nan)
    edges = np.linspace(0, 1, bins + 1)
    return Reliability(edges[:-1], edges[1:], faces.astype(np.int64), confidence / some, right / some)
