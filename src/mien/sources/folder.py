"""Class folders: photos of one face each, sorted into a folder per class.

    train/angry/1.png  validation/angry/2.png  test/angry/3.png  ...     or     angry/1.png  ...

Parts are optional, in any combination. The folders' names may be spelt as the public copies of FER2013, CK+,
AffectNet and others spell them (folder_layout.py); `class_names` says what others mean, or names other classes.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from mien.base.files import replacing
from mien.base.settings import STRICT
from mien.base.state import digest, state_folder
from mien.runtime.cut import Box
from mien.runtime.decode import UnreadablePhoto, decode_photo
from mien.sources.detect import MIN_SCORE, SMALLEST, YUNET, Detection, YuNetDetector, largest_of
from mien.sources.fingerprints import MAX_MEGAPIXELS, each_photo, short_digest
from mien.sources.folder_layout import ClassFolder, files_of_class, find_layout, is_hidden, number_of, read_words
from mien.sources.photos import (
    PHOTO_SUFFIXES,
    FolderPhotos,
    PhotoMissing,
    existing_folder,
    is_photo_name,
    leaves_folder,
)
from mien.sources.source import Ingested, Source, faces_table, no_usable, problems_table

NOT_UTF8: Final = re.compile("[\ud800-\udfff]")  # Python's stand-ins for bytes that are no text
# Reasons that concern some other file; all the rest concern a photo.
NOT_OF_PHOTOS: Final = ("malformed_name", "empty_folder", "not_a_photo")


@dataclass(frozen=True)
class Folder:
    """The source `folder`; a ValueError as of `read_words`."""

    expects: ClassVar[str] = (
        "a folder of photos per class (angry/, happy/, ...), right there or in train/, validation/, test/"
    )

    __pydantic_config__ = STRICT

    # the classes, or further names of folders and their classes (None leaves a folder out)
    class_names: dict[str, str | None] | list[str] = field(default_factory=dict)
    numbering: Literal["", "fer2013", "affectnet", "rafdb"] = ""  # whose numbers plain numbers are (NUMBERINGS)
    conflicting_labels: Literal["quarantine", "keep"] = "quarantine"  # photos with the same bytes under two classes
    faces: Literal["whole", "detect"] = "whole"  # detect: YuNet looks for them in whole photographs
    faces_per_photo: Literal["largest", "all"] = "largest"  # of those that it finds

    def __post_init__(self) -> None:
        read_words(self.class_names, self.numbering)

    def ingest(self, folder: Path) -> Ingested:
        """A face per photo, `face_id` and `image` its path; every other file below the folder is a problem.

        A detected face has its number behind its `face_id`, and 100 times the detector's score as its confidence.

        The classes are the expressions, eight where there is a folder for contempt, else seven; or those of
        `class_names`; or the folders' own names, sorted, where none of them is an expression's. A UserError where the
        folders are not as `expects` says, or hold no photo.
        """
        words = read_words(self.class_names, self.numbering)
        layout = find_layout(existing_folder(folder), words, self.numbering)
        photos: list[tuple[str, ClassFolder]] = []
        problems: list[dict[str, str]] = []
        for where in layout.classes:
            for path in files_of_class(where.path, layout.words):
                name = path.relative_to(folder).as_posix()
                if wrong := _why_unusable(path, name, folder):
                    problems.append(_problem(name, *wrong, where.label))
                else:
                    photos.append((name, where))
        unused = dict.fromkeys(layout.strays, ("no_class", "the photo is in no class folder"))
        for left_out in layout.left_out:
            files = [path for path in sorted(left_out.rglob("*")) if not path.is_dir()]
            unused |= dict.fromkeys(files, ("left_out", f"class_names leaves {left_out.name}/ out"))
        for path, why in unused.items():
            name = path.relative_to(folder).as_posix()
            problems.append(_problem(name, *(_why_unusable(path, name, folder) or why)))
        if self.conflicting_labels == "quarantine":
            conflicts = _conflicts(photos, folder)
            photos = [photo for photo in photos if photo[0] not in conflicts]
            problems += conflicts.values()
        if not photos:
            raise no_usable(f"{folder} holds no usable photo", problems)
        classes = layout.words.classes_of([where.label for where in layout.classes])
        rows: list[dict[str, Any]] = [
            {"face_id": name, "image": name, "label": classes.index(where.label), "source_split": where.part}
            for name, where in photos
        ]
        if self.faces == "detect" and not (rows := list(self._detected(rows, classes, folder, problems))):
            raise no_usable(f"{folder} holds no photo with a face", problems)
        faces = faces_table(rows)
        numbered = Counter(where for _, where in photos if number_of(where.path) is not None)
        notes = [f"{f.path.relative_to(folder)}/ is {f.label}: {n:,} faces" for f, n in numbered.items()]
        if layout.words.classes and not words.classes:
            notes.append(f"The classes are the folders' own names, sorted: {', '.join(classes)}.")
        return Ingested(faces, problems_table(problems), classes=classes, notes=tuple(notes))

    def _detected(
        self, rows: list[dict[str, Any]], classes: Sequence[str], folder: Path, problems: list[dict[str, str]]
    ) -> Iterator[dict[str, Any]]:
        """A row for each face in the photos of these rows; a photo without one becomes a problem."""
        found_in = detect_faces(FolderPhotos(folder), [row["image"] for row in rows])
        for row, found in zip(rows, found_in, strict=True):
            name, label = row["image"], classes[row["label"]]
            if isinstance(found, UnreadablePhoto):
                problems.append(_problem(name, found.reason, found.detail, label))
            elif not found:
                problems.append(_problem(name, "no_face", "YuNet finds no face in the photo", label))
            else:
                faces = largest_of(found, 1) if self.faces_per_photo == "largest" else found
                for number, face in enumerate(faces):
                    confidence = 100 * (face.score or 0)
                    yield {**row, "face_id": f"{name}:{number}", **face.box._asdict(), "confidence": confidence}

    def photos(self, folder: Path, unpack_to: Path) -> FolderPhotos:
        """The photos, where they lie."""
        return FolderPhotos(folder)


SOURCE: Final[type[Source]] = Folder


def _why_unusable(path: Path, name: str, root: Path) -> tuple[str, str] | None:
    """Why a file, or a folder as a whole, cannot be used as a photo: reason and sentence; None where it can."""
    if NOT_UTF8.search(name) or leaves_folder(name):
        return "malformed_name", "the name is not UTF-8, or could lead out of the folder; rename it"
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return "link_outside", "the link points outside the data set; replace it by the photo"
    if not path.exists():
        return "missing_photo", "the link points to nothing"
    if path.is_dir() and not is_hidden(path):
        return "empty_folder", "the folder is empty"
    if not path.is_file() or is_hidden(path):
        return "not_a_photo", f"a hidden {'folder' if path.is_dir() else 'or special file'}"
    if not is_photo_name(path):
        return "not_a_photo", f"the name has no ending of a photo: {', '.join(PHOTO_SUFFIXES)}"
    return None


def _problem(name: str, reason: str, detail: str, label: str = "") -> dict[str, str]:
    """A file as one of `Ingested.problems`."""
    where = name.encode(errors="backslashreplace").decode()
    face = "" if reason in NOT_OF_PHOTOS else where
    return {"where": where, "face_id": face, "image": face, "label": label, "reason": reason, "detail": detail}


def _conflicts(photos: list[tuple[str, ClassFolder]], root: Path) -> dict[str, dict[str, str]]:
    """Photos whose bytes occur in several classes, as problems by name; only files of equal sizes are read."""
    labels = {name: where.label for name, where in photos}
    sizes = {name: (root / name).stat().st_size for name in labels}
    classes_of: dict[int, set[str]] = defaultdict(set)
    for name, label in labels.items():
        classes_of[sizes[name]].add(label)
    copies: dict[bytes, list[str]] = defaultdict(list)
    for name, size in sizes.items():
        if len(classes_of[size]) > 1:
            with suppress(PermissionError):  # crop reports this photo
                copies[hashlib.sha256((root / name).read_bytes()).digest()].append(name)
    conflicts = {}
    for same in copies.values():
        if len({labels[name] for name in same}) > 1:
            for name in same:
                detail = f"the same photo as {', '.join(o for o in same if o != name)}, under another class"
                conflicts[name] = _problem(name, "conflicting_labels", detail, labels[name])
    return {name: conflicts[name] for name in labels if name in conflicts}


def detect_faces(photos: FolderPhotos, names: Sequence[str]) -> Iterator[list[Detection] | UnreadablePhoto]:
    """The faces that YuNet finds in each photo, in the photos' order, or why the photo cannot be read.

    What was found in a photo is kept in `.mien/detections`, by the photo's bytes: further photos cost no second search.
    """
    settings = {"yunet": short_digest(YUNET.read_bytes()), "min_score": MIN_SCORE, "smallest": SMALLEST, "format": 1}
    kept = state_folder() / "detections" / f"{digest(settings)}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    detector = YuNetDetector(YUNET, min_score=MIN_SCORE, smallest=SMALLEST)

    def work(i: int) -> tuple[str, list[Detection] | UnreadablePhoto]:
        try:
            data = photos.read(names[i])
            key = short_digest(data)
            if key in known:
                return key, [Detection(Box(*edges), score) for *edges, score in known[key]]
            return key, detector.detect(decode_photo(data, max_megapixels=MAX_MEGAPIXELS))
        except PhotoMissing as error:
            return "", UnreadablePhoto(error.reason, str(error))
        except UnreadablePhoto as error:
            return "", error

    for key, found in each_photo(work, len(names), "faces"):
        if not isinstance(found, UnreadablePhoto):
            known[key] = [[*face.box, face.score] for face in found]
        yield found
    kept.parent.mkdir(exist_ok=True)
    with replacing(kept) as file:
        file.write_text(json.dumps(known))
