"""Face images: PNG and JPEG encoding, data URIs, and a contact sheet per class."""

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from mien.crop.packed import PackedFaces  # pandas, which heat maps do without

Pixels = npt.NDArray[Any]

COLUMNS: Final = 10
MOST: Final = 60  # faces on a contact sheet
GAP: Final = 4
TITLE: Final = 40  # pixels above the faces
INK: Final = (30, 30, 30)
PAPER: Final = (255, 255, 255)


def as_rgb(face: Pixels) -> Pixels:
    """A face (H, W, 1 or 3) as (H, W, 3)."""
    return np.repeat(face, 3, axis=2) if face.shape[2] == 1 else face


def face_png(face: Pixels) -> bytes:
    """A face (H, W, 1 or 3) uint8, grey or RGB, as a PNG file."""
    return cv2.imencode(".png", _as_opencv(face))[1].tobytes()


def face_jpeg(face: Pixels, quality: int) -> bytes:
    """A face (H, W, 1 or 3) uint8, grey or RGB, as a JPEG file."""
    return cv2.imencode(".jpg", _as_opencv(face), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _as_opencv(face: Pixels) -> Pixels:
    return face if face.shape[2] == 1 else cv2.cvtColor(face, cv2.COLOR_RGB2BGR)


def data_uri(png: bytes) -> str:
    """A PNG file as a URI that contains it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def write_contact_sheets(packed: "PackedFaces", folder: Path) -> None:
    """Write a PNG for each class, `contact_CLASS.png`, with up to 60 faces spread over the data set, or none."""
    labels = packed.index["label"].to_numpy()
    for label, name in enumerate(packed.classes):
        sheet = contact_sheet(packed.pixels, np.flatnonzero(labels == label), name)
        sheet.save(folder / f"contact_{name}.png")


def augmentation_sheet(augmented: Pixels) -> bytes:
    """PNG: a line for each face, as it is and as epochs of a training see it; `(n, 1 + epochs, H, W, C)` uint8."""
    framed = np.pad(augmented, ((0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=PAPER[0])
    return face_png(as_rgb(np.vstack([np.hstack(line) for line in framed])))


def spread(rows: npt.NDArray[np.intp], most: int) -> npt.NDArray[np.intp]:
    """At most so many of the rows, (N,), evenly spread."""
    return np.asarray(rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int)])


def contact_sheet(pixels: Pixels, rows: npt.NDArray[np.intp], name: str) -> Image.Image:
    """Up to 60 faces of a class, evenly spread: those of `pixels` (N, H, W, C) uint8 whose positions are `rows`."""
    shown = spread(rows, MOST)
    size = pixels.shape[1]
    step = size + GAP
    lines = max(-(-len(shown) // COLUMNS), 1)
    title = f"{name}: {len(shown)} of {len(rows):,} faces" if len(rows) else f"{name}: no faces"
    font = ImageFont.load_default(20)
    width = max(COLUMNS * step + GAP, GAP + round(font.getlength(title)))
    sheet = Image.new("RGB", (width, TITLE + lines * step + GAP), PAPER)
    ImageDraw.Draw(sheet).text((GAP, GAP), title, INK, font)
    for place, row in enumerate(shown):
        corner = (GAP + place % COLUMNS * step, TITLE + place // COLUMNS * step)
        sheet.paste(Image.fromarray(np.ascontiguousarray(as_rgb(pixels[row]))), corner)
    return sheet
