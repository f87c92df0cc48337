"""Data sources: the settings of a data set (`conf/data`), the faces table that each gives, and sources by name."""

import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import pandas as pd

import mien.sources
from mien.base.classes import ALWAYS_SLICED, EXPRESSIONS, WITH_CONTEMPT, checked_classes
from mien.base.errors import UserError
from mien.base.settings import STRICT, build_settings, near_name, refuse
from mien.runtime.cut import WHOLE_PHOTO, Box
from mien.sources.photos import Photos

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


@dataclass(frozen=True)
class DataConfig:
    """One raw data set: its name, its source, its folder and its title for people."""

    __pydantic_config__ = STRICT

    name: str  # names the registered model: mien-NAME
    source: str  # a module of mien.sources, as `mien data` lists them
    path: str  # folder, from the repository root
    title: str = field(default="", metadata={"optional": True})  # the name shown in reports
    # Not photographs: a model trained on it warns when it is used on one.
    drawn: bool = field(default=False, metadata={"optional": True})
    # Whom a photo shows: a pattern whose one group is found in the file's name, such as "^(S[0-9]+)_", or in its path.
    person: str = field(default="", metadata={"optional": True})
    # Columns of the faces table by which accuracy is measured as well, such as [camera, age].
    slices: tuple[str, ...] = field(default=(), metadata={"optional": True})
    # Fields of the source's class.
    options: dict[str, Any] = field(default_factory=dict, metadata={"optional": True})

    def __post_init__(self) -> None:
        named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name, re.ASCII)
        taken = [name for name in self.slices if name in ALWAYS_SLICED]
        refuse(
            "" if named else f"name must be letters, digits, '_', '-' and '.', as in mien-NAME, not {self.name!r}",
            *(f"slices: every data set has slices by {name}; give the column another name" for name in taken),
            finder_mistake("person", self.person, "the person, as in '^(S[0-9]+)_'"),
        )


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


class Source(Protocol):
    """Reads one shape of raw data set.

    A module of this package that assigns such a class to `SOURCE` is the source of the module's name, as
    `source:` in conf/data names it. The class is a dataclass whose fields are the keys that `options:` may hold
    there, all with a default; it raises ValueError on values that do not fit together.
    """

    expects: ClassVar[str]  # what the folder must hold, as `mien data` shows it

    def ingest(self, folder: Path) -> Ingested:
        """The raw data set as a faces table and its problems; another shape, or no usable face, is a UserError."""
        ...

    def photos(self, folder: Path, unpack_to: Path) -> Photos:
        """The photos that the faces table names; archives are unpacked below `unpack_to`."""
        ...


def source_names() -> list[str]:
    """The names of all sources, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(mien.sources.__path__) if source_class(module.name))


def source_class(name: str) -> Any:
    """The class, a dataclass, that reads data sets of the source of that name; None where there is no such source."""
    if not any(module.name == name for module in pkgutil.iter_modules(mien.sources.__path__)):
        return None
    return getattr(import_module(f"mien.sources.{name}"), "SOURCE", None)


def get_source(data: DataConfig) -> Source:
    """The source of a data set, with its options; a UserError where either is unknown names those there are."""
    kind = source_class(data.source)
    if kind is None:
        raise UserError(f"source {data.source!r} is unknown; the sources are {', '.join(source_names())}.")
    source: Source = build_settings(kind, data.options, f"data set {data.name}: options", complete=False)
    return source


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
