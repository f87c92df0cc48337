"""Class folders: photos that are faces already, sorted into a folder per expression.

    train/angry/1.png  validation/angry/2.png  test/angry/3.png  ...     or     angry/1.png  ...

Parts are optional, in any combination. The folders' names may be spelt as the public copies of FER2013, CK+,
AffectNet and others spell them (folder_layout.py); `class_names` says what others mean.
"""

import hashlib
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Literal

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.settings import STRICT
from mien.sources.folder_layout import (
    ClassFolder,
    checked_class_names,
    expression_spelt,
    find_layout,
    is_hidden,
    part_spelt,
    refuse_link,
)
from mien.sources.photos import PHOTO_SUFFIXES, FolderPhotos, existing_folder, is_photo_name, leaves_folder
from mien.sources.source import Source
from mien.sources.table import Ingested, faces_table, no_usable, problems_table

NOT_UTF8: Final = re.compile("[\ud800-\udfff]")  # Python's stand-ins for bytes that are no text
# Reasons that concern a photo, not some other file.
OF_PHOTOS: Final = ("conflicting_labels", "left_out", "no_class", "missing_photo", "link_outside")


@dataclass(frozen=True)
class Found:
    """A file, or a folder that is set aside as a whole; `reason` is "" for a photo that can be used."""

    name: str  # its path from the data set's folder
    size: int = 0  # bytes of a photo
    reason: str = ""
    detail: str = ""

    def problem(self, expression: str = "") -> dict[str, str]:
        """The file as one of `Ingested.problems`."""
        name = self.name.encode(errors="backslashreplace").decode()
        face = name if self.reason in OF_PHOTOS else ""
        row = {"where": name, "face_id": face, "image": face, "label": expression}
        return {**row, "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True)
class Folder:
    """The source `folder`.

    `class_names` maps further names of folders to expressions, or to None to leave a folder out. Photos with
    the same bytes under two classes are all set aside, or with `conflicting_labels="keep"` used as they are.

    Raises:
        ValueError: class_names maps to what is no expression.
    """

    expects: ClassVar[str] = (
        "a folder of photos per expression (angry/, happy/, ...), right there or in train/, validation/, test/"
    )

    __pydantic_config__ = STRICT

    class_names: dict[str, str | None] = field(default_factory=dict)
    conflicting_labels: Literal["quarantine", "keep"] = "quarantine"

    def __post_init__(self) -> None:
        """Check class_names."""
        object.__setattr__(self, "class_names", checked_class_names(self.class_names))

    def ingest(self, folder: Path) -> Ingested:
        """A face per photo, `face_id` and `image` its path; every other file below the folder is a problem.

        The classes are eight where there is a folder for contempt, else seven.

        Raises:
            UserError: the folders are not as `expects` says, or hold no photo.
        """
        layout = find_layout(existing_folder(folder), self.class_names)
        found = [(where, file) for where in layout.classes for file in _files_of_class(where.path, folder)]
        photos = [(where, file) for where, file in found if not file.reason]
        problems = [file.problem(where.expression) for where, file in found if file.reason]
        for path in layout.strays:
            problems.append(_set_aside(path, folder, "no_class", "the photo lies in no class folder"))
        for path in layout.left_out:
            detail = f"class_names leaves {path.name}/ out"
            files = (file for file in sorted(path.rglob("*")) if not file.is_dir())
            problems += [_set_aside(file, folder, "left_out", detail) for file in files]
        if self.conflicting_labels == "quarantine":
            conflicts = _conflicts(photos, folder)
            photos = [photo for i, photo in enumerate(photos) if i not in conflicts]
            problems += conflicts.values()
        if not photos:
            raise no_usable(f"{folder} holds no usable photo", problems)
        known = {where.expression for where in layout.classes}
        names: list[object] = [file.name for _, file in photos]
        faces = faces_table(
            {
                "face_id": names,
                "image": names,
                "label": [WITH_CONTEMPT.index(where.expression) for where, _ in photos],
                "source_split": [where.part for where, _ in photos],
            }
        )
        classes = EXPRESSIONS if known <= set(EXPRESSIONS) else WITH_CONTEMPT
        return Ingested(faces, problems_table(problems), classes=classes)

    def photos(self, folder: Path, unpack_to: Path) -> FolderPhotos:
        """The photos, where they lie."""
        return FolderPhotos(folder)


SOURCE: Final[type[Source]] = Folder


def _files_of_class(folder: Path, root: Path) -> Iterator[Found]:
    """Everything in a class folder, to its depths, in the order of the names."""
    paths = sorted(folder.iterdir())
    if not paths:
        yield Found(folder.relative_to(root).as_posix(), 0, "empty_folder", "the folder is empty")
    for path in paths:
        if not path.is_dir() or is_hidden(path):
            yield _look_at(path, root)
            continue
        refuse_link(path)
        if part_spelt(path.name) or expression_spelt(path.name):
            raise UserError(
                f"{path} has the name of {'a part' if part_spelt(path.name) else 'an expression'} and lies in the "
                f"class folder {folder.name}/; the order is PART/CLASS/photos: put it where it belongs."
            )
        yield from _files_of_class(path, root)


def _look_at(path: Path, root: Path) -> Found:
    """One file, or one hidden folder."""
    name = path.relative_to(root).as_posix()

    if NOT_UTF8.search(name) or leaves_folder(name):
        return Found(name, 0, "malformed_name", "the name is not UTF-8, or could lead out of the folder; rename it")
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        if not path.resolve().is_relative_to(root.resolve()):
            return Found(name, 0, "link_outside", "a link that leads out of the data set; put the photo itself there")
        if not path.exists():
            return Found(name, 0, "missing_photo", "a link that leads nowhere")
        status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        n = sum(not inner.is_dir() for inner in path.rglob("*"))
        return Found(name, 0, "not_a_photo", f"a hidden folder with {n} {'file' if n == 1 else 'files'}")
    if not stat.S_ISREG(status.st_mode):
        return Found(name, 0, "not_a_photo", "no plain file")
    if is_hidden(path):
        return Found(name, 0, "not_a_photo", "a hidden file")
    if not is_photo_name(path):
        return Found(name, 0, "not_a_photo", f"the name does not end as a photo's does: {', '.join(PHOTO_SUFFIXES)}")
    return Found(name, status.st_size)


def _set_aside(path: Path, root: Path, reason: str, detail: str) -> dict[str, str]:
    """A file as a problem: what is wrong with the file itself, else this reason."""
    found = _look_at(path, root)
    return (found if found.reason else Found(found.name, 0, reason, detail)).problem()


def _conflicts(photos: list[tuple[ClassFolder, Found]], root: Path) -> dict[int, dict[str, str]]:
    """By position the photos whose bytes occur in several classes, as problems.

    Only files whose size occurs in several classes are read.
    """
    classes_of: dict[int, set[str]] = defaultdict(set)
    for where, file in photos:
        classes_of[file.size].add(where.expression)
    copies: dict[bytes, list[int]] = defaultdict(list)
    for i, (_, file) in enumerate(photos):
        if len(classes_of[file.size]) > 1:
            with suppress(PermissionError):  # crop reports this photo
                copies[hashlib.sha256((root / file.name).read_bytes()).digest()].append(i)
    problems: dict[int, dict[str, str]] = {}
    for same in copies.values():
        if len({photos[i][0].expression for i in same}) > 1:
            for i in same:
                others = ", ".join(photos[j][1].name for j in same if j != i)
                detail = f"the same photo as {others}, under another class"
                conflict = Found(photos[i][1].name, 0, "conflicting_labels", detail)
                problems[i] = conflict.problem(photos[i][0].expression)
    return dict(sorted(problems.items()))
