"""Class folders: photos that are faces already, sorted into a folder per expression.

    train/angry/1.png  validation/angry/2.png  test/angry/3.png  ...     or     angry/1.png  ...

Parts are optional, in any combination. The folders' names may be spelt as the public copies of FER2013, CK+,
AffectNet and others spell them (see spelling.py); `class_names` says what others mean.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import pandas as pd

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.sources.folder_layout import ClassFolder, find_layout, is_hidden
from mien.sources.label_names import checked_class_names, expression_spelt, part_spelt
from mien.sources.photos import FolderPhotos, conflicting_copies, leaves_folder
from mien.sources.source import Source
from mien.sources.table import Ingested, faces_table, problems_table

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


CONFLICTS: Final = ("quarantine", "keep")


@dataclass(frozen=True)
class Folder:
    """The source `folder`.

    `class_names` maps further names of folders to expressions, or to None to leave a folder out. Photos with
    the same bytes under two classes are all set aside, or with `conflicting_labels="keep"` used as they are.

    Raises:
        ValueError: class_names maps to what is no expression, or conflicting_labels is neither word.
    """

    expects: ClassVar[str] = (
        "a folder of photos per expression (angry/, happy/, ...), right there or in train/, validation/, test/"
    )

    class_names: Mapping[str, str | None] = field(default_factory=dict)
    conflicting_labels: str = "quarantine"

    def __post_init__(self) -> None:
        """Check both options."""
        object.__setattr__(self, "class_names", checked_class_names(self.class_names))
        if self.conflicting_labels not in CONFLICTS:
            raise ValueError(
                f"conflicting_labels must be one of {', '.join(CONFLICTS)}, not {self.conflicting_labels!r}"
            )

    def ingest(self, folder: Path) -> Ingested:
        """A face per photo, `face_id` and `image` its path; every other file below the folder is a problem.

        The classes are eight where there is a folder for contempt, else seven.

        Raises:
            UserError: the folders are not as `expects` says, or hold no photo.
        """
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder}; put the data set there, or name its own in conf/data.")
        layout = find_layout(folder, self.class_names)
        of_class = [(where, found) for where in layout.classes for found in files_of_class(where.path, folder)]
        photos = [(where, found) for where, found in of_class if not found.reason]
        problems = [_problem(found, folder, where.expression) for where, found in of_class if found.reason]
        for path in layout.strays:
            problems += [_problem(found, folder) for found in stray(path, folder)]
        for path in layout.left_out:
            problems += [_problem(found, folder) for found in left_out(path, folder)]
        if self.conflicting_labels == "quarantine":
            photos, conflicts = _without_conflicts(photos, folder)
            problems += conflicts
        if not photos:
            first = f"; the first: {problems[0]['where']}: {problems[0]['detail']}" if problems else ""
            raise UserError(f"{folder} holds no usable photo ({len(problems)} files were set aside{first}).")
        known = {where.expression for where in layout.classes}
        classes = EXPRESSIONS if known <= set(EXPRESSIONS) else WITH_CONTEMPT
        return Ingested(_faces(photos, folder), problems_table(problems), classes=classes)

    def photos(self, folder: Path, unpack_to: Path) -> FolderPhotos:
        """The photos, where they lie."""
        return FolderPhotos(folder)


SOURCE: Final[type[Source]] = Folder


def _without_conflicts(
    photos: list[tuple[ClassFolder, Found]], root: Path
) -> tuple[list[tuple[ClassFolder, Found]], list[dict[str, str]]]:
    """The photos without those whose bytes stand under several classes, and those as problems."""
    problems: dict[int, dict[str, str]] = {}
    for same in conflicting_copies((f.path, f.size, where.expression) for where, f in photos):
        names = [photos[i][1].path.relative_to(root).as_posix() for i in same]
        for i in same:
            where, found = photos[i]
            others = ", ".join(name for name, j in zip(names, same, strict=True) if j != i)
            conflict = Found(found.path, 0, "conflicting_labels", f"the same photo as {others}, under another class")
            problems[i] = _problem(conflict, root, where.expression)
    return [photo for i, photo in enumerate(photos) if i not in problems], [problems[i] for i in sorted(problems)]


def _faces(photos: Iterable[tuple[ClassFolder, Found]], root: Path) -> pd.DataFrame:
    rows = [(found.path.relative_to(root).as_posix(), where) for where, found in photos]
    columns: dict[str, list[object]] = {
        "face_id": [name for name, _ in rows],
        "image": [name for name, _ in rows],
        "label": [WITH_CONTEMPT.index(where.expression) for _, where in rows],
        "source_split": [where.part for _, where in rows],
    }
    return faces_table(columns)


def _problem(found: Found, root: Path, expression: str = "") -> dict[str, str]:
    name = found.path.relative_to(root).as_posix().encode(errors="backslashreplace").decode()
    is_face = found.reason in ("conflicting_labels", "left_out", "no_class", "missing_photo", "link_outside")
    return {
        "where": name,
        "face_id": name if is_face else "",
        "image": name if is_face else "",
        "label": expression,
        "reason": found.reason,
        "detail": found.detail,
    }
