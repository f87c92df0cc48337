"""The sources by the name that `conf/data/*.yaml` uses."""

from pathlib import Path
from typing import Final, Protocol

from mien.errors import UserError
from mien.sources.expw import ExpW
from mien.sources.photos import Photos
from mien.sources.table import Ingested


class Source(Protocol):
    """Reads one shape of raw data set."""

    def ingest(self, folder: Path) -> Ingested:
        """The raw data set as a faces table and its problems."""
        ...

    def photos(self, folder: Path, unpack_to: Path) -> Photos:
        """The photos that the faces table names; archives are unpacked below `unpack_to`, which the caller keeps."""
        ...


SOURCES: Final[dict[str, Source]] = {"expw": ExpW()}


def get_source(name: str) -> Source:
    """The source of that name.

    Raises:
        UserError: there is none; names those there are.
    """
    if name not in SOURCES:
        raise UserError(f"source {name!r} is unknown; the sources are {', '.join(sorted(SOURCES))}.")
    return SOURCES[name]
