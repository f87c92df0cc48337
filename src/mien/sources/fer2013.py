"""FER2013 (Goodfellow et al., "Challenges in Representation Learning", ICONIP 2013) in its distributed format.

One csv with a row per face of 48 x 48 grey pixels, `emotion,pixels,Usage`, or with the columns in another order.
Its official split is kept: Training, PublicTest as validation, PrivateTest as test.

FER+ (Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016) is ten people's votes on each face, in `fer2013new.csv`. Its rows are FER2013's rows in the same order, and
that is the only thing that joins the two: the number in `Image name` is not the row, and 173 names are blank.
"""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.base.settings import STRICT
from mien.sources.archive import unpack_once
from mien.sources.fer2013_csv import SIDE, USAGES, VALUES, Row, find_csv, read_csv, read_header, row_name
from mien.sources.photos import PhotoMissing
from mien.sources.source import BadRow, Ingested, Source, faces_table, no_usable, problems_table

PIXELS: Final = "pixels.npy"
NUMBERS: Final = "rows.npy"
PGM_HEADER: Final = f"P5 {SIDE} {SIDE} 255\n".encode()  # binary grey, read by every decoder without loss

VOTES: Final = "fer2013new.csv"
WORDS: Final = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
EMOTIONS: Final = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")  # as mien calls them
NO_EMOTION: Final = {"unknown": "voted_unknown", "NF": "voted_no_face"}  # with the reason to leave the face out
COLUMNS: Final = ("usage", *WORDS, *(name.casefold() for name in NO_EMOTION))

LEAST_SHARE: Final = 0.5  # of all votes that count; what was taken must hold more
ENOUGH_SHARE: Final = 0.75  # at which no further emotion is taken
MOST_EMOTIONS: Final = 3
TARGET_SHARE: Final = 0.3  # from which an emotion is one of several targets

VoteRow = tuple[int, str, tuple[int, ...]]  # a row's line, its official part, and ten counts in the order of COLUMNS


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


def label_by_votes(
    csv_file: Path, rows: list[Row], total: int, mode: str, classes: tuple[str, ...]
) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows that FER+ keeps, with its labels, and a problem for each row that it leaves out.

    `fer2013new.csv` lies beside FER2013's csv, which has `total` rows, of which `rows` can be used. `mode` is majority,
    cross_entropy or multi_target; `classes` are seven, or eight with contempt. A UserError where the file is missing or
    damaged, or its rows are not those of the csv.
    """
    voted = read_votes(csv_file.parent)
    if len(voted) != total:
        raise UserError(f"{VOTES} has {len(voted):,} rows and {csv_file.name} {total:,}; they must have as many.")
    labelled: list[Row] = []
    problems: list[dict[str, str]] = []
    for row in rows:
        line, part, votes = voted[row.number]
        if part != row.part:
            theirs = f"{csv_file.name}, line {row.line} of {row.part}"
            raise UserError(f"{VOTES}, line {line} is of {part} and {theirs}; their rows must be in the same order.")
        try:
            label, shares = label_of_votes(votes, mode, classes)
        except BadRow as bad:
            bad.row = {"face_id": row_name(row.number), "image": row_name(row.number)}
            problems.append(bad.problem(f"{VOTES}:{line}"))
        else:
            labelled.append(row._replace(label=label, votes=None if mode == "majority" else shares))
    return labelled, problems


def read_votes(folder: Path) -> list[VoteRow]:
    """The rows of `fer2013new.csv` in `folder`; a UserError names file and line of what cannot be read."""
    file = folder / VOTES
    if not file.is_file():
        raise UserError(f"{file} is missing; FER+ has it at github.com/microsoft/FERPlus, for beside FER2013's csv.")
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as content:
        reader = csv.reader(content)
        header = read_header(next(reader, []), COLUMNS, file)
        places = [header.index(name) for name in COLUMNS]
        rows: list[VoteRow] = []
        for fields in reader:
            where = f"{file}, line {reader.line_num}"
            if len(fields) <= max(places):
                raise UserError(f"{where}: {len(fields)} fields where {max(places) + 1} are expected.")
            usage, *counts = (fields[place].strip() for place in places)
            if usage not in USAGES:
                raise UserError(f"{where}: Usage {usage!r} is not one of {', '.join(USAGES)}.")
            if wrong := [count for count in counts if not (count.isascii() and count.isdigit() and len(count) < 4)]:
                raise UserError(f"{where}: {wrong[0]!r} is not a number of votes.")
            rows.append((reader.line_num, USAGES[usage], tuple(map(int, counts))))
    return rows


def label_of_votes(votes: tuple[int, ...], mode: str, classes: tuple[str, ...]) -> tuple[int, list[float]]:
    """A face's class among `classes` (with or without contempt), and the share of votes of each class.

    `votes` are ten counts: eight emotions, unknown, NF. What counts as a face's label depends on the mode:

    - `majority`: the emotion with more than half of the votes.
    - `cross_entropy` (and the paper's `probability`, which draws from the same shares): the most voted emotions until
      they hold three quarters, at most three.
    - `multi_target`: every emotion with 30 % of the votes, in equal shares.

    A single vote never counts. Of classes with equally many votes the first in FER+'s own order wins. BadRow where FER+
    leaves the face out, or it shows contempt and `classes` lacks that.
    """
    counted = np.where(np.array(votes) > 1, votes, 0)
    taken = _most_voted(counted)
    if mode == "majority":
        taken = np.where(np.arange(len(counted)) == counted.argmax(), counted, 0)
    elif mode == "multi_target":
        taken = np.where(counted >= TARGET_SHARE * counted.sum(), counted, 0)
    if taken.sum() <= LEAST_SHARE * counted.sum() or np.count_nonzero(taken) > MOST_EMOTIONS:
        raise BadRow("no_agreement", f"the votes {' '.join(map(str, votes))} do not agree ({mode})")
    first = int(taken.argmax())
    if first >= len(EMOTIONS):
        name, reason = list(NO_EMOTION.items())[first - len(EMOTIONS)]
        raise BadRow(reason, f"{counted[first]} of {sum(votes)} votes for {name!r}")
    if EMOTIONS[first] not in classes:
        raise BadRow("contempt", f"{taken[first]} votes for contempt, which is none of the seven expressions")
    of_classes = taken[[EMOTIONS.index(name) for name in classes]]
    shares = np.minimum(of_classes, 1) if mode == "multi_target" else of_classes
    return WITH_CONTEMPT.index(EMOTIONS[first]), (shares / shares.sum()).tolist()


def _most_voted(counted: np.ndarray) -> np.ndarray:
    """Count by count, from the highest, every emotion that has it; unknown or NF ends it, and counts only if first."""
    taken = np.zeros_like(counted)
    for level in sorted({*counted[counted > 0]}, reverse=True):
        if taken.sum() >= ENOUGH_SHARE * counted.sum() or np.count_nonzero(taken) >= MOST_EMOTIONS:
            break
        for i in np.flatnonzero(counted == level):
            if i < len(EMOTIONS) or not taken.any():
                taken[i] = level
            if i >= len(EMOTIONS):
                return taken
    return taken
