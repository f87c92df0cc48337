"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", ICONIP 2013), as it is distributed.

One csv with a row per face of 48 x 48 grey pixels, `emotion,pixels,Usage`, or with the columns in another order.
Its official split is kept: Training, PublicTest as validation, PrivateTest as test.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.runtime.cut import WHOLE_PHOTO
from mien.sources.archive import forget_killed
from mien.sources.fer2013_csv import SIDE, VALUES, Row, find_csv, read_csv, row_name
from mien.sources.ferplus import FILE as VOTES
from mien.sources.ferplus import MODES, SOFT_MODES, check_rows, join, read_votes
from mien.sources.photos import PhotoMissing
from mien.sources.source import Source
from mien.sources.table import BadRow, Ingested, faces_table, problems_table

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


@dataclass(frozen=True)
class Fer2013:
    """The source `fer2013`: a face's id and photo are its row, `row-00000` the first after the header.

    `ferplus` takes the labels from FER+'s votes instead (`fer2013new.csv` beside the csv): majority, cross_entropy or
    multi_target, the last two with soft labels. `contempt` keeps FER+'s eighth class; without it its faces are set
    aside.

    Raises:
        ValueError: ferplus is none of these, or contempt is asked for without it.
    """

    ferplus: str = ""
    contempt: bool = False

    def __post_init__(self) -> None:
        """Check both options."""
        if self.ferplus not in ("", *MODES):
            raise ValueError(f"ferplus must be one of {', '.join(MODES)}, or '' for FER2013's own labels")
        if not isinstance(self.contempt, bool) or (self.contempt and not self.ferplus):
            raise ValueError(f"contempt ({self.contempt}) must be true or false, and needs ferplus: only FER+ knows it")

    expects: ClassVar[str] = "fer2013.csv, plain, .gz, .xz or in fer2013.tar.gz; or icml_face_data.csv"

    def ingest(self, folder: Path) -> Ingested:
        """Every usable row of the csv, and every row that was set aside; memory does not hold the pixels.

        Raises:
            UserError: the csv is missing, stands there twice, is damaged or empty, lacks a column, or no row can
                be used.
        """
        file = find_csv(folder)
        rows: list[Row] = []
        problems: list[dict[str, str]] = []
        total = 0
        for chunk in read_csv(file):
            rows += [row._replace(pixels=b"") for row in chunk.rows]
            problems += chunk.problems
            total = chunk.total
        if not total:
            raise UserError(f"{file} holds a header and no row; it needs a row for each face.")
        labels: list[object] = [row.label for row in rows]
        votes: list[object] = [None] * len(rows)
        if self.ferplus:
            rows, labels, votes = self._join(file, rows, total, problems)
        if not rows:
            first = f"the first: {problems[0]['where']}: {problems[0]['detail']}"
            raise UserError(f"{file} has no usable row ({len(problems)} were set aside; {first}).")
        names: list[object] = [row_name(row.number) for row in rows]
        columns: dict[str, list[object]] = {
            "face_id": names,
            "image": names,
            "label": labels,
            "votes": votes,
            **{edge: [WHOLE_PHOTO[i]] * len(rows) for i, edge in enumerate(("top", "left", "right", "bottom"))},
            "source_split": [row.part for row in rows],
        }
        return Ingested(faces_table(columns), problems_table(problems), classes=self._classes)

    @property
    def _classes(self) -> tuple[str, ...]:
        return WITH_CONTEMPT if self.contempt else EXPRESSIONS

    def _join(
        self, file: Path, rows: list[Row], total: int, problems: list[dict[str, str]]
    ) -> tuple[list[Row], list[object], list[object]]:
        """The rows that FER+ keeps, with its labels and soft labels; those it leaves out are added to the problems."""
        voted = read_votes(file.parent)
        check_rows(voted, rows, total, file.name)
        kept: list[Row] = []
        labels: list[object] = []
        votes: list[object] = []
        for row in rows:
            line, _, counts = voted[row.number]
            try:
                label, shares = join(counts, self.ferplus, self._classes)
            except BadRow as bad:
                bad.row = {"face_id": row_name(row.number), "image": row_name(row.number)}
                problems.append(bad.problem(f"{VOTES}:{line}"))
                continue
            kept.append(row)
            labels.append(label)
            votes.append(shares if self.ferplus in SOFT_MODES else None)
        return kept, labels, votes

    def photos(self, folder: Path, unpack_to: Path) -> RowPhotos:
        """The faces as photos, their pixels kept below `unpack_to` as one array (83 MB for the whole set).

        Raises:
            UserError: as `ingest`.
        """
        return RowPhotos(unpack_pixels(find_csv(folder), unpack_to))


SOURCE: Final[type[Source]] = Fer2013
