"""One photo to its faces: read, check, decode once, cut every face."""

import hashlib
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mien.crop.selection import CropConfig
from mien.runtime.cut import Box, BoxOutside, cut_face, face_box, reduction
from mien.runtime.decode import PhotoHeader, UnreadablePhoto, decode_pixels, read_header
from mien.sources.photos import PhotoMissing, Photos

DIGEST_BYTES: Final = 16  # of a SHA-256: 32 hex digits


@dataclass
class PhotoFaces:
    """What one photo gave: a kept or a dropped entry for each of the rows that name it."""

    digest: bytes = b""  # of the photo's bytes
    reduced: int = 1  # the photo was decoded at 1/reduced of its size
    kept: list[tuple[int, Box, bytes]] = field(default_factory=list)  # row, box in the photo, digest of the face
    faces: list[np.ndarray] = field(default_factory=list)  # of `kept`, (size, size, C) uint8
    dropped: list[tuple[int, str, str]] = field(default_factory=list)  # row, reason, sentence
    clamped: int = 0  # faces whose box left the photo in part


def photo_faces(photos: Photos, image: str, rows: list[int], boxes: np.ndarray, config: CropConfig) -> PhotoFaces:
    """The faces of one photo.

    Args:
        photos: where the photo is read from.
        image: its name.
        rows: how the caller names the faces; handed back with each.
        boxes: (len(rows), 4) integers, the faces' boxes as top, left, right, bottom.
        config: size, colour, margin and so on.
    """
    found = PhotoFaces()
    try:
        data = photos.read(image)
        found.digest = short_digest(data)
        header = read_header(data, max_megapixels=config.max_megapixels, apply_exif_rotation=config.apply_exif_rotation)
        placed = _place(found, rows, boxes, header, config)
        if placed:
            _cut(found, data, header, placed, config)
    except PhotoMissing as error:
        found.dropped = [(row, error.reason, str(error)) for row in rows]
    except UnreadablePhoto as error:
        found.dropped += [(row, error.reason, error.detail) for row in _undropped(found, rows)]
    return found


def _place(
    found: PhotoFaces, rows: list[int], boxes: np.ndarray, header: PhotoHeader, config: CropConfig
) -> list[tuple[int, Box]]:
    """Each row's box in the photo; a box outside is dropped."""
    placed = []
    for row, box in zip(rows, boxes.tolist(), strict=True):
        try:
            inside = face_box(box, header.height, header.width, margin=config.margin, square=config.square)
        except BoxOutside as error:
            found.dropped.append((row, "box_outside", str(error)))
            continue
        top, left, right, bottom = box
        found.clamped += right > header.width or bottom > header.height or (min(top, left) < 0 < right)
        placed.append((row, inside))
    return placed


def _cut(
    found: PhotoFaces, data: bytes, header: PhotoHeader, placed: list[tuple[int, Box]], config: CropConfig
) -> None:
    if config.scaled_decoding and header.is_jpeg:
        found.reduced = reduction([box for _, box in placed], config.size)
    photo = decode_pixels(
        data,
        header,
        colour=config.colour,
        reduce=found.reduced,
        apply_exif_rotation=config.apply_exif_rotation,
        down_to=max(box.bottom for _, box in placed),
    )
    for row, box in placed:
        face = cut_face(photo, box, config.size, found.reduced)
        found.faces.append(face)
        found.kept.append((row, box, short_digest(face.tobytes())))


def short_digest(data: bytes) -> bytes:
    """The first 16 bytes of the SHA-256."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def _undropped(found: PhotoFaces, rows: list[int]) -> list[int]:
    dropped = {row for row, _, _ in found.dropped}
    return [row for row in rows if row not in dropped]
