"""The files of a class folder: which are photos, and what is wrong with the others."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import UserError
from mien.sources.folder_layout import is_hidden
from mien.sources.photos import leaves_folder
from mien.sources.spelling import expression_spelt, part_spelt

SUFFIXES: Final = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm")
)


@dataclass(frozen=True)
class Found:
    """A file, or a folder that is passed over as a whole; `reason` is "" for a photo."""

    path: Path
    size: int  # bytes of a photo, 0 otherwise
    reason: str = ""
    detail: str = ""


def files_of_class(folder: Path, root: Path) -> Iterator[Found]:
    """Everything in a class folder, to its depths, in the order of the names.

    Raises:
        UserError: a folder in it is a link, or has the name of a part or of an expression.
    """
    empty = True
    for path in sorted(folder.iterdir()):
        empty = False
        if path.is_dir() and not is_hidden(path):
            _refuse_folder(path, folder)
            yield from files_of_class(path, root)
        else:
            yield _found(path, root)
    if empty:
        yield Found(folder, 0, "empty_folder", "the folder is empty")


def stray(path: Path, root: Path) -> Iterator[Found]:
    """What lies beside the class folders: never a usable photo, since nothing says what it shows."""
    found = _found(path, root)
    yield found if found.reason else Found(path, 0, "no_class", "the photo lies in no class folder")


def left_out(path: Path, root: Path) -> Iterator[Found]:
    """Every file of a folder that class_names maps to null."""
    for file in sorted(path.rglob("*")):
        if not file.is_dir():
            found = _found(file, root)
            yield found if found.reason else Found(file, 0, "left_out", f"class_names leaves {path.name}/ out")


def _refuse_folder(path: Path, folder: Path) -> None:
    if path.is_symlink():
        raise UserError(f"{path} is a link to a folder; put the folder itself there, so that DVC keeps its photos.")
    if part_spelt(path.name) or expression_spelt(path.name):
        raise UserError(
            f"{path} has the name of {'a part' if part_spelt(path.name) else 'an expression'} and lies in the class "
            f"folder {folder.name}/; the order is PART/CLASS/photos: put it where it belongs."
        )


def _found(path: Path, root: Path) -> Found:
    """One file, or one hidden folder."""
    name = path.relative_to(root).as_posix()
    if not _is_text(name) or leaves_folder(name):
        return Found(path, 0, "malformed_name", "the name is not UTF-8, or could lead out of the folder; rename it")
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        if not path.resolve().is_relative_to(root.resolve()):
            return Found(path, 0, "link_outside", "a link that leads out of the data set; put the photo itself there")
        if not path.exists():
            return Found(path, 0, "missing_photo", "a link that leads nowhere")
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        n = sum(not inner.is_dir() for inner in path.rglob("*"))
        return Found(path, 0, "not_a_photo", f"a hidden folder with {n} {'file' if n == 1 else 'files'}")
    if not stat.S_ISREG(status.st_mode):
        return Found(path, 0, "not_a_photo", "no plain file")
    if is_hidden(path):
        return Found(path, 0, "not_a_photo", "a hidden file")
    if path.suffix.lower() not in SUFFIXES:
        return Found(path, 0, "not_a_photo", f"the name does not end as a photo's does: {', '.join(sorted(SUFFIXES))}")
    return Found(path, status.st_size)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
