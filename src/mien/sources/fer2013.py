"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", ICONIP 2013) in its distributed format.

One csv with a row per face of 48 x 48 grey pixels, `emotion,pixels,Usage`, or with the columns in another order.
Its official split is kept: Training, PublicTest as validation, PrivateTest as test.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.settings import STRICT
from mien.sources.archive import unpack_once
from mien.sources.faces import Ingested, faces_table, no_usable, problems_table
from mien.sources.fer2013_csv import SIDE, VALUES, Row, find_csv, read_csv, row_name
from mien.sources.ferplus import label_by_votes
from mien.sources.photos import PhotoMissing
from mien.sources.source import Source

PIXELS: Final = "pixels.npy"
NUMBERS: Final = "rows.npy"
PGM_HEADER: Final = f"P5 {SIDE} {SIDE} 255\n".encode()  # binary grey, read by every decoder without loss


@dataclass(frozen=True)
class Fer2013:
    """The source `fer2013`: a face's id and photo are its row, `row-00000` the first after the header."""

    expects: ClassVar[str] = "fer2013.csv, plain, .gz, .xz or in fer2013.tar.gz, .tar or .zip; or icml_face_data.csv"

    __pydantic_config__ = STRICT

    # Labels from FER+'s votes (`fer2013new.csv` beside the csv), soft ones but for majority.
    ferplus: Literal["", "majority", "cross_entropy", "multi_target"] = ""
    contempt: bool = False  # keep FER+'s eighth class, whose faces are else set aside

    def __post_init__(self) -> None:
        if self.contempt and not self.ferplus:
            raise ValueError("contempt needs ferplus: only FER+ knows it")

    def ingest(self, folder: Path) -> Ingested:
        """Every usable row, and every row that was set aside, without pixels; a UserError where none is usable."""
        file = find_csv(folder)
        rows: list[Row] = []
        problems: list[dict[str, str]] = []
        for row in read_csv(file):
            if isinstance(row, Row):
                rows.append(row._replace(pixels=b""))
            else:
                problems.append(row)
        if not rows and not problems:
            raise UserError(f"{file} holds a header and no row; it needs a row for each face.")
        classes = WITH_CONTEMPT if self.contempt else EXPRESSIONS
        if self.ferplus:
            rows, left_out = label_by_votes(file, rows, len(rows) + len(problems), self.ferplus, classes)
            problems += left_out
        if not rows:
            raise no_usable(f"{file} has no usable row", problems)
        faces = [
            {"label": row.label, "votes": row.votes, "source_split": row.part}
            | dict.fromkeys(("face_id", "image"), row_name(row.number))
            for row in rows
        ]
        return Ingested(faces_table(faces), problems_table(problems), classes=classes)

    def photos(self, folder: Path, unpack_to: Path) -> "RowPhotos":
        """The faces as photos, stored below `unpack_to` as one array (83 MB for the set); errors as of `ingest`."""
        file = find_csv(folder)

        def write(partial: Path) -> None:
            rows = [row for row in read_csv(file) if isinstance(row, Row)]
            pixels = np.frombuffer(b"".join(row.pixels for row in rows), np.uint8)
            np.save(partial / PIXELS, pixels.reshape(-1, VALUES))
            np.save(partial / NUMBERS, np.array([row.number for row in rows], np.int64))

        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return RowPhotos(unpack_once(unpack_to / f"fer2013-{digest[:16]}", write))


SOURCE: Final[type[Source]] = Fer2013


class RowPhotos:
    """The faces of a csv by their rows' names, from the folder that `Fer2013.photos` wrote."""

    def __init__(self, folder: Path) -> None:
        self._pixels = np.load(folder / PIXELS, mmap_mode="r")  # (n, 2304) uint8
        self._places = {row_name(number): i for i, number in enumerate(np.load(folder / NUMBERS).tolist())}

    def read(self, image: str) -> bytes:
        """The face as a 48 x 48 grey PGM file with exactly the csv's pixels."""
        if image not in self._places:
            raise PhotoMissing(f"{image} is not a usable row of the csv")
        face: bytes = self._pixels[self._places[image]].tobytes()
        return PGM_HEADER + face
