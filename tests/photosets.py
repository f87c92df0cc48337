"""Small ExpW-shaped data sets for tests: real JPEGs, real 7z archives."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import py7zr
from PIL import Image


def picture(height: int = 80, width: int = 100, seed: int = 0, blur: float = 6) -> np.ndarray:
    """A smooth random picture, (H, W, 3) uint8 RGB; every seed gives another."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)


def thumbnails_of(faces: Iterable[np.ndarray]) -> np.ndarray:
    """Faces (H, W, C) uint8 as ingest writes their thumbnails, (N, 32, 32) uint8 grey."""
    grey = (cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) if face.shape[2] == 3 else face for face in faces)
    return np.stack([cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA) for face in grey])


def encode(image: np.ndarray | Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """A picture as a file of that format."""
    whole = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    whole.save(file, form, **options)
    return file.getvalue()


def photo(height: int = 80, width: int = 100, seed: int = 0) -> bytes:
    """A JPEG file."""
    return encode(picture(height, width, seed), quality=95)


def write_labels(folder: Path, rows: Iterable[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = folder / "label.lst"
    labels.write_text("".join(f"{row}\n" for row in rows))
    return labels


def write_photos(folder: Path, photos: Mapping[str, bytes]) -> None:
    (folder / "origin").mkdir(parents=True, exist_ok=True)
    for name, data in photos.items():
        (folder / "origin" / name).write_bytes(data)


def write_archive(folder: Path, photos: Mapping[str, bytes], volume: int = 0) -> list[Path]:
    """`origin.7z`, or its volumes of `volume` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / "origin.7z"
    with py7zr.SevenZipFile(whole, "w") as archive:
        for name, data in photos.items():
            archive.writestr(data, f"origin/{name}")
    return split_archive(whole, volume) if volume else [whole]


def split_archive(whole: Path, volume: int) -> list[Path]:
    data = whole.read_bytes()
    whole.unlink()
    files = []
    for number, start in enumerate(range(0, len(data), volume), start=1):
        files.append(whole.with_name(f"{whole.name}.{number:03d}"))
        files[-1].write_bytes(data[start : start + volume])
    return files
