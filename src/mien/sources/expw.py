"""ExpW, Expression in-the-Wild (Zhang, Luo, Loy and Tang, IJCV 2018) in its distributed format.

`label.lst` has a row per face, separated by blanks, in this order (right before bottom):

    image_name face_id_in_image top left right bottom confidence label

and the photos lie in `origin/` or in an archive that unpacks to it: `origin.7z`, or `origin.7z.001`, ...
Both are looked for in the data set's folder and in its `label/` and `image/`, as the publishers packed them.
"""

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from mien.base.classes import N_EXPRESSIONS
from mien.base.errors import UserError
from mien.sources.archive import Volumes, find_volumes, list_files, unpack
from mien.sources.photos import FolderPhotos, existing_folder, leaves_folder
from mien.sources.source import BadRow, Ingested, Source, faces_table, no_usable, problems_table

LABELS: Final = "label.lst"
PHOTOS: Final = "origin"
FIELDS: Final = ("image_name", "face_id_in_image", "top", "left", "right", "bottom", "confidence", "label")
PIXEL: Final = re.compile(r"[+-]?\d{1,6}")  # no photo is larger; keeps boxes far inside int32


@dataclass(frozen=True)
class ExpW:
    """The source `expw`; it reads every data set that has this shape."""

    expects: ClassVar[str] = "label.lst, and the photos in origin/, origin.7z or its volumes origin.7z.001, ..."

    def ingest(self, folder: Path) -> Ingested:
        """The faces of `label.lst` whose photos are there, and each row set aside; a UserError where none is usable."""
        places = (existing_folder(folder), folder / "label")
        labels = next((place / LABELS for place in places if (place / LABELS).is_file()), None)
        if labels is None:
            raise UserError(f"{folder / LABELS} is missing; it must lie beside {PHOTOS}/ or its archive.")
        found = _find_photos(folder)
        if isinstance(found, Volumes):
            present = {name.removeprefix(f"{PHOTOS}/") for name in list_files(found)}
        else:
            present = {file.relative_to(found).as_posix() for file in found.rglob("*") if file.is_file()}
        faces: list[dict[str, Any]] = []
        problems: list[dict[str, str]] = []
        first: dict[str, tuple[int, str]] = {}  # by face: line and content of the row that counts
        # A byte that is not UTF-8 becomes U+FFFD, which no row may hold: that row alone is malformed.
        for number, line in enumerate(labels.read_text(encoding="utf-8-sig", errors="replace").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = parse_row(line)
                content = " ".join(line.split())
                before, text = first.setdefault(row["face_id"], (number, content))
                if before != number and text == content:
                    raise BadRow("duplicate_row", f"the row repeats line {before}, which is used", row)
                if before != number:
                    differs = f"line {before}, which is used, describes this face differently"
                    raise BadRow("duplicate_face_id", differs, row)
                if row["image"] not in present:
                    raise BadRow("missing_photo", f"{row['image']} is not among the photos", row)
            except BadRow as bad:
                problems.append(bad.problem(f"{labels.name}:{number}"))
            else:
                faces.append(row)
        if not faces:
            raise no_usable(f"{labels} has no usable row", problems)
        named = {row["image"] for row in (*faces, *problems)}
        return Ingested(faces_table(faces), problems_table(problems), len(present - named))

    def photos(self, folder: Path, unpack_to: Path) -> FolderPhotos:
        """The photos, unpacked once below `unpack_to` where they lie in an archive; errors as of `ingest`."""
        found = _find_photos(folder)
        if isinstance(found, Path):
            return FolderPhotos(found)
        unpacked = unpack(found, unpack_to)
        inner = unpacked / PHOTOS
        return FolderPhotos(inner if inner.is_dir() else unpacked)


SOURCE: Final[type[Source]] = ExpW


def _find_photos(folder: Path) -> Path | Volumes:
    """The folder of photos where it exists, else the archive's volumes."""
    for place in (folder, folder / "image"):
        if (place / PHOTOS).is_dir():
            return place / PHOTOS
        if volumes := find_volumes(place / f"{PHOTOS}.7z"):
            return volumes
    raise UserError(f"{folder} has neither {PHOTOS}/ nor {PHOTOS}.7z nor {PHOTOS}.7z.001; put the photos there.")


def parse_row(line: str) -> dict[str, Any]:
    """One row as the columns `face_id, image, top, left, right, bottom, confidence, label` of the faces table.

    `face_id` is `IMAGE:NUMBER`, since ExpW numbers the faces within each photo. BadRow where the row is malformed, its
    label is unknown, or its box is swapped or empty.
    """
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise BadRow("malformed_row", f"the row has {len(fields)} fields instead of {len(FIELDS)}: {' '.join(FIELDS)}")
    image, number, *edges, confidence, label = fields
    row: dict[str, Any] = {"face_id": f"{image}:{number}", "image": image}
    if "\ufffd" in line:
        raise BadRow("malformed_row", "the row is not UTF-8 text", row)
    if leaves_folder(image):
        raise BadRow("malformed_row", f"image name {image!r} leads out of the photo folder", row)
    if not number.isdecimal():
        raise BadRow("malformed_row", f"face_id_in_image {number!r} is not a whole number", row)
    if not re.fullmatch(rf"0*[0-{N_EXPRESSIONS - 1}]", label):
        raise BadRow("unknown_label", f"label {label[:20]!r} is not one of 0 to {N_EXPRESSIONS - 1}", row)
    row["label"] = int(label)
    with suppress(ValueError):
        row["confidence"] = float(confidence)
    if not math.isfinite(row.get("confidence", math.nan)):
        raise BadRow("malformed_row", f"confidence {confidence!r} is not a finite number", row)
    box: dict[str, int] = {}  # a box outside the photo is found when that is cut: its size is not known yet
    for name, text in zip(("top", "left", "right", "bottom"), edges, strict=True):
        if not PIXEL.fullmatch(text):
            raise BadRow("malformed_row", f"{name} {text[:20]!r} is not a whole number of pixels below a million", row)
        box[name] = int(text)
    for low, high in (("left", "right"), ("top", "bottom")):
        if box[high] < box[low]:
            raise BadRow("swapped_box", f"{high} {box[high]} is less than {low} {box[low]}", row)
        if box[high] == box[low]:
            raise BadRow("empty_box", f"{low} and {high} are both {box[low]}", row)
    return row | box
