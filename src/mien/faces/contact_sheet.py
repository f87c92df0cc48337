"""A picture of many faces of one class, to be looked at before anything is learnt from them."""

from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.faces.packed import PackedFaces

COLUMNS: Final = 10
MOST: Final = 60
GAP: Final = 4
TITLE: Final = 40  # pixels above the faces
INK: Final = (30, 30, 30)
PAPER: Final = (255, 255, 255)


def write_contact_sheets(packed: PackedFaces, folder: Path) -> list[Path]:
    """One PNG per class, `contact_CLASS.png`, with up to 60 faces at their size, spread over the whole data set.

    Every class has its picture; that of a class without faces says so.
    """
    labels = packed.index["label"].to_numpy()
    written = []
    for label, name in enumerate(packed.spec["classes"]):
        rows = np.flatnonzero(labels == label)
        path = folder / f"contact_{name}.png"
        contact_sheet(packed.pixels, rows, name).save(path)
        written.append(path)
    return written


def contact_sheet(pixels: np.ndarray, rows: np.ndarray, name: str) -> Image.Image:
    """Up to 60 faces of `rows`, evenly spread, in lines of 10 under a title.

    Args:
        pixels: (N, H, W, C) uint8, RGB or grey.
        rows: rows of `pixels` that belong to the class.
        name: of the class.
    """
    shown = rows[np.linspace(0, len(rows) - 1, min(MOST, len(rows))).round().astype(int)]
    size = pixels.shape[1]
    step = size + GAP
    lines = max(-(-len(shown) // COLUMNS), 1)
    sheet = Image.new("RGB", (COLUMNS * step + GAP, TITLE + lines * step + GAP), PAPER)
    ImageDraw.Draw(sheet).text((GAP, GAP), _title(name, shown, rows), INK, ImageFont.load_default(20))
    for place, row in enumerate(shown):
        face = np.broadcast_to(pixels[row], (size, size, 3))
        at = (GAP + place % COLUMNS * step, TITLE + place // COLUMNS * step)
        sheet.paste(Image.fromarray(np.ascontiguousarray(face)), at)
    return sheet


def _title(name: str, shown: np.ndarray, rows: np.ndarray) -> str:
    return f"{name}: {len(shown)} of {len(rows):,} faces" if len(rows) else f"{name}: no faces"
