"""FER2013's faces as photos: from one array of pixels, each handed out as a PGM file."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from mien.sources.archive import forget_killed
from mien.sources.fer2013_csv import read_csv, row_name
from mien.sources.fer2013_pixels import SIDE, VALUES
from mien.sources.photos import PhotoMissing

PIXELS: Final = "pixels.npy"
NUMBERS: Final = "rows.npy"
PGM_HEADER: Final = f"P5 {SIDE} {SIDE} 255\n".encode()  # binary grey, read by every decoder without loss


@dataclass(frozen=True)
class RowPhotos:
    """The faces of a csv by their rows' names, from the folder that `unpack_pixels` wrote."""

    folder: Path

    def read(self, image: str) -> bytes:
        """The face as a 48 x 48 grey PGM file with exactly the csv's pixels."""
        pixels, places = _opened(self.folder)
        if image not in places:
            raise PhotoMissing(f"{image} is no usable row of the csv")
        face: bytes = pixels[places[image]].tobytes()
        return PGM_HEADER + face


def unpack_pixels(file: Path, unpack_to: Path) -> Path:
    """The folder below `unpack_to` with the pixels of the csv's usable rows, read unless it is there already.

    The folder's name is a digest of the file's bytes; it appears by rename when whole.
    """
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:16]
    folder = unpack_to / f"fer2013-{digest}"
    if folder.is_dir():
        return folder
    unpack_to.mkdir(parents=True, exist_ok=True)
    forget_killed(folder)
    waiting = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    waiting.mkdir()
    try:
        _write(file, waiting)
        if not folder.is_dir():  # another process may have been faster
            waiting.rename(folder)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return folder


def _write(file: Path, folder: Path) -> None:
    numbers: list[int] = []
    pixels = [np.empty((0, VALUES), np.uint8)]
    for chunk in read_csv(file):
        numbers += [row.number for row in chunk.rows]
        pixels.append(chunk.pixels)
    np.save(folder / PIXELS, np.concatenate(pixels))
    np.save(folder / NUMBERS, np.array(numbers, np.int64))


@lru_cache(maxsize=4)
def _opened(folder: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Memory-mapped pixels (n, 2304) uint8, and where in them each row's face lies; once per process."""
    numbers = np.load(folder / NUMBERS).tolist()
    return np.load(folder / PIXELS, mmap_mode="r"), {row_name(number): i for i, number in enumerate(numbers)}
