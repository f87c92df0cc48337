"""Packed faces: `faces.npy`, its index, and how they were cut."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.records import read_out, read_record
from mien.runtime.spec import CutSpec, UnusableModel, cut_of

COLUMNS = (
    *("row", "face_id", "image", "label", "confidence", "top", "left", "right", "bottom", "face_size"),
    *("source_split", "photo_digest", "face_digest", "votes"),
)
PIXELS: Final = "faces.npy"
INDEX: Final = "index.parquet"
SPEC: Final = "crop.json"
REMEDY: Final = "`dvc repro crop` writes it again"
SPEC_KEYS: Final[dict[str, type]] = {"cut": dict, "classes": list, "n": int, "digest": str}


@dataclass(frozen=True)
class PackedFaces:
    """Packed faces, opened.

    `pixels` is memory-mapped (N, H, W, C) uint8, RGB or grey with C = 1; `index` has a row per face in the
    same order; `classes` are the names of the labels, and `digest` is the identity of the data (`faces_digest`).
    """

    pixels: np.ndarray
    index: pd.DataFrame
    cut: CutSpec
    classes: tuple[str, ...]
    digest: str


def open_faces(folder: Path) -> PackedFaces:
    """The packed faces that `crop_faces` wrote into `folder`.

    Raises:
        UserError: a file is missing, damaged or of another version of mien, or they do not belong together.
    """
    spec = read_record(folder / SPEC, SPEC_KEYS, REMEDY, closed=True)
    pixels = read_out(folder / PIXELS, lambda file: np.load(file, mmap_mode="r"), REMEDY)
    index = read_out(folder / INDEX, pd.read_parquet, REMEDY)
    if not len(pixels) == len(index) == spec["n"]:
        raise UserError(
            f"{folder} holds {len(pixels)} faces and {len(index)} index rows, and {SPEC} says {spec['n']}; {REMEDY}."
        )
    try:
        cut = cut_of(spec["cut"], str(folder / SPEC))
    except UnusableModel as error:
        raise UserError(f"{error}; {REMEDY}.") from error
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


class FaceWriter:
    """Writes faces one after the other into an .npy file whose length is known only at the end."""

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.n = 0
        self._shape = shape
        self._file = path.open("wb", buffering=1 << 20)
        self._header()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the true length, and close."""
        with self._file:
            self._file.seek(0)
            self._header()

    def append(self, face: np.ndarray) -> None:
        """One face, (H, W, C) uint8."""
        if face.shape != self._shape or face.dtype != np.uint8:
            raise ValueError(f"a face must be {self._shape} uint8, not {face.shape} {face.dtype}")
        self._file.write(face.data)
        self.n += 1

    def _header(self) -> None:
        """NumPy pads its header for a longer first axis, so that one of any length takes the same room."""
        description = {"descr": "|u1", "fortran_order": False, "shape": (self.n, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, description)
