"""How far two ways of running one model lie apart on the same faces."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.export.faces import ExportFaces

if TYPE_CHECKING:
    from mien.evaluation.bootstrap import Interval


@dataclass(frozen=True)
class Agreement:
    """`difference` is the largest of any probability; `same` counts the faces with the same likeliest expression."""

    faces: int
    difference: float
    same: int


@dataclass(frozen=True)
class Cost:
    """Accuracy on the same labelled faces before and after, and the paired difference with its 95 % interval."""

    before: float
    after: float
    change: "Interval"


def agreement(one: np.ndarray, other: np.ndarray) -> Agreement:
    """Of probabilities (N, classes) and (N, classes)."""
    same = int((one.argmax(axis=1) == other.argmax(axis=1)).sum())
    return Agreement(len(one), float(np.abs(one - other).max()), same)


def cost(before: np.ndarray, after: np.ndarray, faces: ExportFaces) -> Cost | None:
    """What `after` costs, from probabilities (N, classes) of the checked faces; None where these have no labels."""
    if faces.labels is None or faces.photos is None:
        return None
    from mien.evaluation.compare import paired_bootstrap

    change = paired_bootstrap(faces.labels, before, after, faces.photos)["accuracy"]
    right = [float((found.argmax(axis=1) == faces.labels).mean()) for found in (before, after)]
    return Cost(right[0], right[1], change)
