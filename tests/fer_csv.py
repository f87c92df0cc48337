"""Small csvs in FER2013's form, of faces drawn at random."""

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

HEADER = "emotion,pixels,Usage"


def face(seed: int) -> np.ndarray:
    """(48, 48) uint8; every seed gives another."""
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def text(pixels: np.ndarray) -> str:
    """Pixels as the csv writes them."""
    return " ".join(map(str, pixels.ravel().tolist()))


def row(seed: int, label: object = 0, usage: str = "Training") -> str:
    """A row of the csv with the face of that seed."""
    return f"{label},{text(face(seed))},{usage}"


def write_csv(folder: Path, rows: Iterable[str], header: str = HEADER, name: str = "fer2013.csv") -> Path:
    """A csv of these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("\n".join([header, *rows, ""]), encoding="utf-8", newline="")
    return file


def unpacked_fer2013(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the real csv into `folder`; its pixels (35887, 48, 48) uint8 and labels. MIEN_REAL_DATA names the data."""
    packed = Path(os.environ["MIEN_REAL_DATA"]) / "fer2013"
    spec = importlib.util.spec_from_file_location("restore", packed / "restore.py")
    assert spec is not None and spec.loader is not None
    restore = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(restore)
    folder.mkdir(parents=True)
    restore.write_csv(str(folder / "fer2013.csv"))
    pixels, labels, _ = restore.load()
    return pixels, labels
