"""Packed faces: `faces.npy`, its index and its cropping settings."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.files import read_out, read_record, rerun
from mien.runtime.spec import CutSpec, cut_of

COLUMNS = (
    *("row", "face_id", "image", "label", "confidence", "top", "left", "right", "bottom", "face_size"),
    *("source_split", "person", "photo_digest", "face_digest", "votes"),
)
PIXELS: Final = "faces.npy"
INDEX: Final = "index.parquet"
SPEC: Final = "crop.json"
REMEDY: Final = rerun("crop")
SPEC_KEYS: Final[dict[str, type]] = {"cut": dict, "classes": list, "n": int, "digest": str}


@dataclass(frozen=True)
class PackedFaces:
    """Packed faces, opened."""

    pixels: np.ndarray  # memory-mapped (N, H, W, C) uint8, RGB or grey with C = 1
    index: pd.DataFrame  # a row per face, in the same order
    cut: CutSpec
    classes: tuple[str, ...]  # the names of the labels
    digest: str  # the identity of the data (`faces_digest`)


def open_faces(folder: Path, columns: list[str] | None = None) -> PackedFaces:
    """The packed faces that `crop_faces` wrote into `folder`; of the index these `columns`, by default all.

    A UserError where a file is missing, damaged or of another version of mien, or they do not belong together.
    """
    spec = read_record(folder / SPEC, SPEC_KEYS, REMEDY, closed=True)
    pixels = read_out(folder / PIXELS, lambda file: np.load(file, mmap_mode="r"), REMEDY)
    index = read_out(folder / INDEX, lambda file: pd.read_parquet(file, columns=columns), REMEDY)
    if not len(pixels) == len(index) == spec["n"]:
        held = f"{len(pixels)} faces and {len(index)} index rows"
        raise UserError(f"{folder} holds {held}, and {SPEC} says {spec['n']}; {REMEDY}.")
    cut = read_out(folder / SPEC, lambda _: cut_of(spec["cut"], SPEC), REMEDY)
    return PackedFaces(pixels, index, cut, tuple(spec["classes"]), spec["digest"])


def faces_digest(index: pd.DataFrame) -> str:
    """SHA-256, in hex, over every face's digest, label, id and votes: the identity of the data as it is learnt from."""
    digest = hashlib.sha256()
    for column in ("face_digest", "label", "face_id"):
        digest.update("\n".join(index[column].astype(str)).encode())
    if index["votes"].notna().any():
        for votes in index["votes"]:
            digest.update(b"" if votes is None else np.asarray(votes, np.float64).tobytes())
    return digest.hexdigest()


def learnt_from(index: pd.DataFrame, seen: pd.DataFrame, *, same_cut: bool = True) -> np.ndarray:
    """Which faces of an index a model has seen, (N,) bool: those of a photo that is in `seen`, the index of its faces.

    Where the faces were cut as its own were (`same_cut`), also those with the very pixels of one of its own.
    """
    known = index["photo_digest"].isin(seen["photo_digest"])
    if same_cut:
        known |= index["face_digest"].isin(seen["face_digest"])
    return known.to_numpy(bool)


@contextmanager
def face_writer(path: Path, shape: tuple[int, int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends a face (H, W, C) uint8 to an .npy file whose length is known only at the end."""
    n = 0

    def write_header() -> None:
        # NumPy pads its header for a longer first axis, so that one of any length takes the same room
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)})

    def append(face: np.ndarray) -> None:
        nonlocal n
        if face.shape != shape or face.dtype != np.uint8:
            raise ValueError(f"a face must be {shape} uint8, not {face.shape} {face.dtype}")
        file.write(face.data)
        n += 1

    with path.open("wb", buffering=1 << 20) as file:
        write_header()
        yield append
        write_header()
