"""What a source is: the one interface between raw data sets and everything else."""

from pathlib import Path
from typing import ClassVar, Protocol

from mien.sources.photos import Photos
from mien.sources.table import Ingested


class Source(Protocol):
    """Reads one shape of raw data set.

    A module of this package that assigns such a class to `SOURCE` is the source of the module's name, as
    `source:` in conf/data names it. The class is a dataclass whose fields are the keys that `options:` may hold
    there, all with a default; it raises ValueError on values that it cannot work with.
    """

    expects: ClassVar[str]  # what has to lie in the folder, for who wants to use the source: `mien data` shows it

    def ingest(self, folder: Path) -> Ingested:
        """The raw data set as a faces table and its problems.

        Raises:
            UserError: the folder is not of this shape, or holds no face that can be used.
        """
        ...

    def photos(self, folder: Path, unpack_to: Path) -> Photos:
        """The photos that the faces table names; archives are unpacked below `unpack_to`, which the caller keeps."""
        ...
