"""Where a data set's photos are read from, by the name that its faces table uses."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar, Final, Protocol

_SUSPICIOUS: Final = re.compile(r"\.\.|[\\:\0]|^[/.]")  # nothing else can lead out of a folder


class PhotoMissing(Exception):
    """A photo that the faces table names and the data set does not hold; `reason` is the quarantine's word for it."""

    reason: ClassVar[str] = "missing_photo"


class PhotoForbidden(PhotoMissing):
    """A photo that is there and may not be read."""

    reason: ClassVar[str] = "unreadable_file"


class Photos(Protocol):
    """Reads photos; safe to call from several threads and to send to another process."""

    def read(self, image: str) -> bytes:
        """The photo's bytes as stored.

        Raises:
            PhotoMissing: there is no such photo, or it may not be read (PhotoForbidden).
        """
        ...


@dataclass(frozen=True)
class FolderPhotos:
    """Photos as files below one folder."""

    root: Path

    def read(self, image: str) -> bytes:
        """The file's bytes; a name that leads out of the folder counts as missing."""
        if leaves_folder(image):
            raise PhotoMissing(f"{image!r} leads out of the photo folder")
        try:
            # a quarter of the time of Path.read_bytes, which counts where a data set has 100,000 photos
            with FileIO(f"{self.root}/{image}") as file:
                return file.readall()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise PhotoMissing(f"{image} is not in {self.root.name}/") from error
        except PermissionError as error:
            raise PhotoForbidden(f"{image} may not be read; allow yourself to read it") from error


def leaves_folder(name: str) -> bool:
    """Whether a relative name from a label file or an archive could lead out of its folder, on any system."""
    if not _SUSPICIOUS.search(name) and name:
        return False
    parts = PurePosixPath(name.replace("\\", "/")).parts
    absolute = name.startswith(("/", "\\")) or bool(PureWindowsPath(name).drive)
    return absolute or ".." in parts or "\0" in name or not parts


def conflicting_copies(photos: Iterable[tuple[Path, int, str]]) -> list[list[int]]:
    """Groups of positions in `photos` whose files hold the same bytes and are of different classes, in their order.

    Args:
        photos: file, size in bytes, and class of each. Only files whose size occurs in two classes are read;
            one that may not be read is in no group.
    """
    by_size: dict[int, list[tuple[int, Path, str]]] = defaultdict(list)
    for position, (path, size, name) in enumerate(photos):
        by_size[size].append((position, path, name))
    groups: list[list[int]] = []
    for files in by_size.values():
        if len({name for _, _, name in files}) > 1:
            groups += _by_content(files)
    return sorted(groups)


def _by_content(files: list[tuple[int, Path, str]]) -> list[list[int]]:
    by_digest: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for position, path, name in files:
        try:
            by_digest[hashlib.sha256(path.read_bytes()).digest()].append((position, name))
        except PermissionError:  # the crop stage will say so of this photo
            continue
    return [[p for p, _ in same] for same in by_digest.values() if len({name for _, name in same}) > 1]
