"""Accuracy by slice of the test set: classes, face sizes and detector confidences."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mien.evaluation.intervals import TOO_FEW, Interval, cluster_sums, proportion
from mien.evaluation.measures import Array


@dataclass(frozen=True)
class Slice:
    """Some of the test faces: what they share, how many in how many photos, and the accuracy on them.

    With fewer than 20 faces `accuracy` has a value but no interval, and `too_few` is true.
    """

    group: str
    name: str
    faces: int
    photos: int
    accuracy: Interval

    @property
    def too_few(self) -> bool:
        """Whether the faces are too few for a statement."""
        return self.faces < TOO_FEW


@dataclass(frozen=True)
class Slices:
    """All slices with a face, and for each grouping that could not be made the reason."""

    slices: tuple[Slice, ...]
    skipped: dict[str, str]


def slice_accuracy(index: pd.DataFrame, predicted: npt.ArrayLike, classes: Sequence[str]) -> Slices:
    """Accuracy by class (its recall), by terciles of face size and by terciles of the detector's confidence.

    `index` has label, face_size, confidence, photo_digest and group of N faces, `predicted` (N,) their answers.
    """
    chosen, skipped = _groupings(index, classes)
    groups, photos = index["group"].to_numpy(), index["photo_digest"]
    hit = (np.asarray(predicted) == index["label"].to_numpy()).astype(np.float64)
    members = np.column_stack(list(chosen.values())).astype(np.float64)
    sums = cluster_sums(np.column_stack([members, members * hit[:, None]]), groups)
    faces, hits = np.split(sums, 2, axis=1)
    slices = []
    for k, ((group, name), rows) in enumerate(chosen.items()):
        many, accuracy = int(rows.sum()), proportion(hits[:, k], faces[:, k])
        accuracy = accuracy if many >= TOO_FEW else Interval(accuracy.value)
        slices.append(Slice(group, name, many, photos[rows].nunique(), accuracy))
    return Slices(tuple(slices), skipped)


def _groupings(index: pd.DataFrame, classes: Sequence[str]) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """Which faces belong to each (group, name), and why a group was skipped."""
    labels = index["label"].to_numpy()
    groups = {
        "class": {name: labels == k for k, name in enumerate(classes) if (labels == k).any()},
        "face size": terciles(index["face_size"], ("small", "medium", "large"), " px"),
        "detector confidence": terciles(index["confidence"], ("low", "middle", "high")),
    }
    skipped = {}
    for group in ("face size", "detector confidence"):
        if not groups[group]:
            skipped[group] = f"the data set gives no {group}"
        elif len(groups[group]) == 1:
            skipped[group] = f"all {len(index)} faces have the same {group}"
    chosen = {(g, name): rows for g, names in groups.items() if g not in skipped for name, rows in names.items()}
    return chosen, skipped


def terciles(values: npt.ArrayLike, names: tuple[str, str, str], unit: str = "") -> dict[str, Array]:
    """The rows, (N,) bool, of each third of the values (N,), by its name and range, and those `not given` (NaN).

    Equal values stay together, so thirds may be unequal, and fewer than three; without a value there is none.
    """
    given = np.asarray(values, dtype=np.float64)
    known = np.isfinite(given)
    if not known.any():
        return {}
    third = np.searchsorted(np.quantile(given[known], [1 / 3, 2 / 3]), given)
    rows = {}
    for k, name in enumerate(names):
        inside = known & (third == k)
        if inside.any():
            low, high = given[inside].min(), given[inside].max()
            span = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f}–{high:.0f}"
            rows[f"{name}, {span}{unit}"] = inside
    return rows if known.all() else {**rows, "not given": ~known}
