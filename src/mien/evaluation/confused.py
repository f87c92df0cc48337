"""Which classes are taken for which, and by which faces."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.evaluation.checks import Floats, Ints
from mien.evaluation.metrics import confusion_counts
from mien.expressions import class_names


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
