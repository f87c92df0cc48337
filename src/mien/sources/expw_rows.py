"""One row of ExpW's `label.lst`: what it must hold, and what is wrong with it."""

import math
from typing import Any, Final

from mien.expressions import N_EXPRESSIONS
from mien.sources.bad_row import BadRow
from mien.sources.photos import leaves_folder

FIELDS: Final = ("image_name", "face_id_in_image", "top", "left", "right", "bottom", "confidence", "label")
MAX_PIXEL: Final = 1_000_000  # no photo is that large; keeps boxes far inside int32


def parse_row(line: str) -> dict[str, Any]:
    """One row as the columns `face_id, image, top, left, right, bottom, confidence, label` of the faces table.

    `face_id` is `IMAGE:NUMBER`, since ExpW numbers the faces within each photo.

    Raises:
        BadRow: the row is malformed, its label is unknown, or its box is swapped or empty.
    """
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise BadRow("malformed_row", f"{len(fields)} fields where {len(FIELDS)} are expected: {' '.join(FIELDS)}")
    image, number, *rest = fields
    row: dict[str, Any] = {"face_id": f"{image}:{number}", "image": image}
    if "\ufffd" in line:
        raise BadRow("malformed_row", "the row is not UTF-8 text", row)
    if leaves_folder(image):
        raise BadRow("malformed_row", f"image name {image!r} leads out of the photo folder", row)
    if not number.isdecimal():
        raise BadRow("malformed_row", f"face_id_in_image {number!r} is not a whole number", row)
    _read_label(rest[5], row)
    _read_confidence(rest[4], row)
    _read_box(rest[:4], row)
    return row


def _read_label(text: str, row: dict[str, Any]) -> None:
    if not (text.isdecimal() and int(text) < N_EXPRESSIONS):
        raise BadRow("unknown_label", f"label {text!r} is not one of 0 to {N_EXPRESSIONS - 1}", row)
    row["label"] = int(text)


def _read_confidence(text: str, row: dict[str, Any]) -> None:
    try:
        row["confidence"] = float(text)
    except ValueError as error:
        raise BadRow("malformed_row", f"confidence {text!r} is not a number", row) from error
    if not math.isfinite(row["confidence"]):
        raise BadRow("malformed_row", f"confidence {text!r} is not a finite number", row)


def _read_box(texts: list[str], row: dict[str, Any]) -> None:
    """The box; its photo's size is not known yet, so a box outside the photo is found when the photo is cut."""
    box: dict[str, int] = {}
    for name, text in zip(("top", "left", "right", "bottom"), texts, strict=True):
        try:
            box[name] = int(text)
        except ValueError as error:
            raise BadRow("malformed_row", f"{name} {text!r} is not a whole number of pixels", row) from error
        if abs(box[name]) > MAX_PIXEL:
            raise BadRow("malformed_row", f"{name} {text} is no pixel of a photo", row)
    for low, high in (("left", "right"), ("top", "bottom")):
        if box[high] < box[low]:
            raise BadRow("swapped_box", f"{high} {box[high]} is less than {low} {box[low]}", row)
        if box[high] == box[low]:
            raise BadRow("empty_box", f"{low} and {high} are both {box[low]}", row)
    row.update(box)
