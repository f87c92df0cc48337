"""Faces table: one row per face, the common output of all sources."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT, checked_classes
from mien.base.errors import UserError
from mien.base.settings import near_name
from mien.runtime.cut import WHOLE_PHOTO, Box

# `top, left, right, bottom` are pixels of the photo as viewers show it, `right` and `bottom` exclusive;
# a negative box (-1 everywhere) means: the whole photo is the face.
FACES_DTYPES: Final = {
    "face_id": "str",  # unique in the table
    "image": "str",  # the photo's name, as `Photos.read` takes it
    "top": "int32",
    "left": "int32",
    "right": "int32",
    "bottom": "int32",
    "confidence": "float32",  # the face detector's score in the data set's own unit; NaN where it has none
    "label": "int8",  # position in the data set's classes
    "source_split": "str",  # "train", "val" or "test" where the data set has an official split, else ""
    "votes": "object",  # None, or annotators' votes per class, a list of as many floats as classes
    "person": "str",  # the data set's name for the person in the face; "" where it names nobody
    "photo_digest": "str",  # of the photo's bytes (fingerprints.py); "" where it could not be read
    "photo_height": "int32",  # pixels, as viewers show the photo; 0 where it could not be decoded
    "photo_width": "int32",
}
PROBLEM_COLUMNS: Final = ("where", "face_id", "image", "label", "reason", "detail")


@dataclass(eq=False)
class BadRow(Exception):
    """A row that cannot be used: a reason in one fixed word, a sentence, and as much of the row as could be read."""

    reason: str
    detail: str
    row: dict[str, Any] = field(default_factory=dict)

    def problem(self, where: str, classes: Sequence[str] = WITH_CONTEMPT) -> dict[str, str]:
        """The row as one of `Ingested.problems`; `where` names file and line, a label is a position in `classes`."""
        label = dict(enumerate(classes)).get(self.row.get("label", -1), "")
        row = {"where": where, "face_id": self.row.get("face_id", ""), "image": self.row.get("image", "")}
        return {**row, "label": label, "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True)
class Ingested:
    """A raw data set, read: the usable faces and, row by row, what could not be used and why."""

    faces: pd.DataFrame
    # `where` names file and line, `label` is a class's name or "", `reason` a short fixed word, `detail` a sentence
    problems: pd.DataFrame
    unlabelled_photos: int = 0  # that no row names
    classes: tuple[str, ...] = EXPRESSIONS  # the names of the labels 0, 1, ...
    notes: tuple[str, ...] = ()  # how the data set was understood, a line each

    def __post_init__(self) -> None:
        checked_classes(self.classes)
        if not self.faces["label"].between(0, len(self.classes) - 1).all():
            raise ValueError(f"a label is outside 0 to {len(self.classes) - 1}; a source must set such rows aside")


def faces_table(rows: Mapping[str, Sequence[object]] | Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Columns of values or rows as a faces table, with all columns; a `face_id` that is there twice is a ValueError."""
    given = pd.DataFrame(rows)
    empty: dict[str, Any] = {**dict.fromkeys(FACES_DTYPES, ""), **dict(zip(Box._fields, WHOLE_PHOTO, strict=True))}
    empty |= {"confidence": float("nan"), "votes": None, "photo_height": 0, "photo_width": 0}
    lacking = {name: value for name, value in empty.items() if name not in given}
    table = given.assign(**lacking)[list(FACES_DTYPES)].astype(FACES_DTYPES)
    if not table["face_id"].is_unique:
        twice = table.loc[table["face_id"].duplicated(), "face_id"].iloc[0]
        raise ValueError(f"face_id {twice!r} occurs twice in the faces table; a source must name each face once")
    return table


def finder_mistake(key: str, pattern: str, finds: str) -> str:
    """What is wrong with a pattern whose one group finds something, or ""; an empty one finds nothing, and is right."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        return f"{key} {pattern!r} is not a valid regular expression ({error})"
    return f"{key} must have one group, which finds {finds}, not {groups}" if pattern and groups != 1 else ""


def name_persons(faces: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """The faces with the `person` that the pattern's group finds in a photo's name or path; a UserError for none."""
    if not pattern:
        return faces
    name = faces["image"].str.rsplit("/", n=1).str[-1]
    found = name.str.extract(pattern, expand=False).fillna(faces["image"].str.extract(pattern, expand=False))
    if found.isna().all():
        raise UserError(f"person {pattern!r} in conf/data fits no photo; the first is {faces['image'].iloc[0]!r}.")
    return faces.assign(person=found.fillna("").astype("str"))


def check_slices(slices: Sequence[str], columns: Iterable[str]) -> None:
    """Raise a UserError for the first of `slices` in conf/data that is none of the faces table's columns."""
    known = [str(name) for name in columns if name not in ("face_id", "votes")]
    if unknown := [name for name in slices if name not in known]:
        near = near_name(unknown[0], known)
        raise UserError(f"slices in conf/data: there is no column {unknown[0]!r}{near}; there are {', '.join(known)}.")


def problems_table(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Rows of problems as a table with exactly PROBLEM_COLUMNS, all text."""
    return pd.DataFrame(rows, columns=list(PROBLEM_COLUMNS)).fillna("").astype("str")


def no_usable(what: str, problems: list[dict[str, str]]) -> UserError:
    """The error for a data set without a usable face, which names the first problem."""
    first = f"; the first: {problems[0]['where']}: {problems[0]['detail']}" if problems else ""
    return UserError(f"{what} ({len(problems)} were set aside{first}).")
