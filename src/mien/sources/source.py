"""Data sources by name, and the settings of a data set (`conf/data`)."""

import pkgutil
import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

import mien.sources
from mien.base.classes import ALWAYS_SLICED
from mien.base.errors import UserError
from mien.base.settings import STRICT, build_settings, refuse
from mien.sources.faces import Ingested, finder_mistake
from mien.sources.photos import Photos


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
