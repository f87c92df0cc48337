"""Temperature scaling and reliability diagrams (C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.evaluation.measures import Floats, Ints, checked_logits, face_sums
from mien.runtime.session import softmax

LIMITS: Final = (1e-3, 1e3)


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
