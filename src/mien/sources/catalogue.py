"""The sources by the name that `conf/data/*.yaml` uses: a module of this package each."""

import dataclasses
import pkgutil
from importlib import import_module
from typing import Any

import mien.sources
from mien.errors import UserError
from mien.sources.protocol import Source
from mien.sources.settings import DataConfig


def source_names() -> list[str]:
    """The names of all sources, sorted."""
    modules = (module.name for module in pkgutil.iter_modules(mien.sources.__path__))
    return sorted(name for name in modules if source_class(name))


def source_class(name: str) -> Any:
    """The class, a dataclass, that reads data sets of the source of that name; None where there is no such source."""
    if not any(module.name == name for module in pkgutil.iter_modules(mien.sources.__path__)):
        return None
    return getattr(import_module(f"mien.sources.{name}"), "SOURCE", None)


def get_source(data: DataConfig) -> Source:
    """The source of a data set, with the data set's options.

    Raises:
        UserError: there is no such source, or it does not take these options; names those there are.
    """
    kind = source_class(data.source)
    if kind is None:
        raise UserError(f"source {data.source!r} is unknown; the sources are {', '.join(source_names())}.")
    known = [field.name for field in dataclasses.fields(kind)]
    for key in data.options:
        if key not in known:
            takes = f"its options are {', '.join(known)}" if known else "it has no options"
            raise UserError(f"data set {data.name}: options: {key}: source {data.source} has no such option; {takes}.")
    try:
        source: Source = kind(**data.options)
    except ValueError as error:
        raise UserError(f"data set {data.name}: options: {error}.") from error
    return source
