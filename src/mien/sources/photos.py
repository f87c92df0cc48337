"""Photo files: recognition by suffix, and reading by the name used in the faces table."""

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Final, Protocol

from mien.base.errors import UserError

# The endings of photos' names, in small letters; what lies in a file is decided when it is decoded.
PHOTO_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm"),
)


class PhotoMissing(Exception):
    """A photo that the faces table names and that cannot be read; `reason` is the quarantine's word for it."""

    def __init__(self, detail: str, reason: str = "missing_photo") -> None:
        super().__init__(detail)
        self.reason = reason


class Photos(Protocol):
    """Reads photos; safe to call from several threads."""

    def read(self, image: str) -> bytes:
        """The photo's bytes as stored; PhotoMissing where there is no such photo, or it may not be read."""
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
            return (self.root / image).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise PhotoMissing(f"{image} is not in {self.root.name}/") from error
        except PermissionError as error:
            detail = f"{image} cannot be read, because you lack the permission"
            raise PhotoMissing(detail, "unreadable_file") from error


def is_photo_name(file: Path) -> bool:
    """Whether a file's name ends as a photo's does."""
    return file.suffix.lower() in PHOTO_SUFFIXES


def leaves_folder(name: str) -> bool:
    """Whether a relative name from a label file or an archive could lead out of its folder, on any system."""
    path = PureWindowsPath(name)  # it takes / and \ as separators
    return bool(path.anchor) or ".." in path.parts or "\0" in name or not path.parts


def existing_folder(folder: Path) -> Path:
    """The data set's folder; a UserError where there is none."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; put the data set there, or name its own in conf/data.")
    return folder
