"""Accuracy by slice of the test set: classes, face sizes, detector confidences and columns of the faces table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.types import is_bool_dtype

from mien.base.classes import ALWAYS_SLICED
from mien.evaluation.intervals import TOO_FEW, Interval, cluster_sums, proportion
from mien.evaluation.measures import Array

MOST_VALUES: Final = 12  # of a column that are slices; the rarer ones are one slice together
BY: Final = "by "  # + a column of the faces table
NOT_GIVEN: Final = "not given"


@dataclass(frozen=True)
class Slice:
    """Some of the test faces: what they share, how many in how many photos, and the accuracy on them."""

    group: str
    name: str
    faces: int
    photos: int
    accuracy: Interval  # without ends where the faces are too few

    @property
    def too_few(self) -> bool:
        """Whether the faces are too few for a statement, fewer than 20."""
        return self.faces < TOO_FEW


@dataclass(frozen=True)
class Slices:
    """All slices with a face, and for each grouping that could not be made the reason."""

    slices: tuple[Slice, ...]
    skipped: dict[str, str]


def slice_accuracy(index: pd.DataFrame, predicted: npt.ArrayLike, classes: Sequence[str]) -> Slices:
    """Accuracy by class (its recall), by thirds of face size and of the detector's confidence, and by `with_slices`.

    `index` has label, face_size, confidence, photo_digest and group of N faces, `predicted` (N,) their answers.
    """
    chosen, skipped = slice_rows(index, classes)
    photos, hit = index["photo_digest"], np.asarray(predicted) == index["label"].to_numpy()
    members = np.column_stack(list(chosen.values())).astype(np.float64)
    sums = cluster_sums(np.column_stack([members, members * hit[:, None]]), index["group"].to_numpy())
    faces, hits = np.split(sums, 2, axis=1)
    slices = []
    for k, (named, rows) in enumerate(chosen.items()):
        accuracy = proportion(hits[:, k], faces[:, k]).resting_on(rows.sum())
        slices.append(Slice(*named, int(rows.sum()), photos[rows].nunique(), accuracy))
    return Slices(tuple(slices), skipped)


def with_slices(index: pd.DataFrame, faces: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The index with these columns of the faces table, which `slice_rows` knows by the name `by COLUMN`."""
    return index.join(faces.set_index("face_id")[list(columns)].add_prefix(BY), on="face_id")


def slice_rows(index: pd.DataFrame, classes: Sequence[str]) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """Which faces belong to each (group, name), (N,) bool, and why a group was skipped."""
    labels, (by_class, sizes, confidences) = index["label"].to_numpy(), ALWAYS_SLICED
    groups = {
        by_class: {name: labels == k for k, name in enumerate(classes) if (labels == k).any()},
        sizes: terciles(index["face_size"], ("small", "medium", "large"), " px"),
        confidences: terciles(index["confidence"], ("low", "middle", "high")),
        **{name.removeprefix(BY): _by_value(index[name]) for name in map(str, index) if name.startswith(BY)},
    }
    skipped = {}
    for group in groups:
        if not set(groups[group]) - {NOT_GIVEN}:
            skipped[group] = f"the data set gives no {group}"
        elif len(groups[group]) == 1 and group != by_class:
            skipped[group] = f"all {len(index)} faces have the same {group}"
    chosen = {(g, name): rows for g, names in groups.items() if g not in skipped for name, rows in names.items()}
    return chosen, skipped


def _by_value(column: pd.Series) -> dict[str, Array]:
    """The rows of each third of a column of numbers; of each value, most frequent first, of any other."""
    text = column.astype("string").str.strip()
    given = text.where(text != "")
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.count() == given.count() and not is_bool_dtype(column):
        return terciles(numbers.astype("float64"), ("low", "middle", "high"))
    values = given.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    rows = {value: (given == value).to_numpy(bool, na_value=False) for value in values[:MOST_VALUES]}
    if len(rest := values[MOST_VALUES:]):
        rows[f"{len(rest):,} rarer values"] = given.isin(rest).to_numpy(bool)
    return {**rows, NOT_GIVEN: given.isna().to_numpy()} if given.hasnans else rows


def terciles(values: npt.ArrayLike, names: tuple[str, str, str], unit: str = "") -> dict[str, Array]:
    """The rows, (N,) bool, of each third of the values (N,), by its name and range, and those `not given` (NaN).

    Equal values stay together, so thirds may be unequal, and fewer than three; without a value there is none.
    """
    given = np.asarray(values, dtype=np.float64)
    known = np.isfinite(given)
    if not known.any():
        return {}
    form = ".0f" if np.abs(given[known]).max() >= 10 else ".3g"
    third = np.searchsorted(np.quantile(given[known], [1 / 3, 2 / 3]), given)
    rows = {}
    for k, name in enumerate(names):
        inside = known & (third == k)
        if inside.any():
            ends = dict.fromkeys(f"{end:{form}}" for end in (given[inside].min(), given[inside].max()))
            rows[f"{name}, {'–'.join(ends)}{unit}"] = inside
    return rows if known.all() else {**rows, NOT_GIVEN: ~known}
