"""FER2013's csv, read in chunks: rows with a label, an official part and pixels, and the rows that have not."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np

from mien.errors import UserError
from mien.expressions import N_EXPRESSIONS
from mien.sources.bad_row import BadRow
from mien.sources.fer2013_file import open_csv
from mien.sources.fer2013_pixels import parse_pixels

COLUMNS: Final = ("emotion", "pixels", "usage")
LABELS: Final = {str(label).encode(): label for label in range(N_EXPRESSIONS)}
PARTS: Final = {b"Training": "train", b"PublicTest": "val", b"PrivateTest": "test"}
CHUNK: Final = 1 << 20  # bytes read at a time, about 120 rows
LONGEST: Final = 1 << 16  # bytes; a row of 2,304 numbers has at most 9,300
BOM: Final = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A row before its pixels are read. `number` counts rows from 0 after the header, `line` lines from 1."""

    number: int
    line: int
    label: int
    part: str
    pixels: bytes


@dataclass
class Chunk:
    """Some rows of the csv: the usable ones with pixels (n, 2304) uint8 in the same order, and problems."""

    rows: list[Row] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    problems: list[dict[str, str]] = field(default_factory=list)
    total: int = 0  # rows read so far, usable or not


def row_name(number: int) -> str:
    """How mien calls a row, as face and as photo: `row-00000` is the first after the header."""
    return f"row-{number:05d}"


def read_csv(file: Path) -> Iterator[Chunk]:
    """The csv's rows in order, in a few MB of memory; blank lines are passed over and count as no row.

    Raises:
        UserError: the file is empty, damaged, or no csv of FER2013 (its header lacks a column).
    """
    with open_csv(file) as content:
        columns = _read_header(content.readline(LONGEST), file)
        total = 0
        for lines in _numbered_lines(content, file):
            chunk = Chunk()
            for line, text in lines:
                try:
                    chunk.rows.append(_parse(text, total, line, columns))
                except BadRow as bad:
                    chunk.problems.append(bad.problem(f"{file.name}:{line}"))
                total += 1
            chunk.total = total
            _read_pixels(chunk, file)
            yield chunk


def _read_header(line: bytes, file: Path) -> list[str]:
    """The columns' names in the file's order, in small letters."""
    text = line.removeprefix(BOM).decode("utf-8", "replace").strip()
    if not text:
        raise UserError(f"{file} is empty; its first line must name the columns: emotion,pixels,Usage.")
    columns = [name.strip(" \"'").casefold() for name in text.split(",")]
    if lacking := [name for name in COLUMNS if columns.count(name) != 1]:
        raise UserError(
            f"{file}: the first line is {text[:60]!r}, which does not name {', '.join(lacking)} once; "
            "FER2013's columns are emotion, pixels and Usage."
        )
    return columns


def _numbered_lines(content: IO[bytes], file: Path) -> Iterator[list[tuple[int, bytes]]]:
    """Lists of line number, counted from 1, and line, from the second line of the file on; no blank lines."""
    number, rest = 2, b""
    while block := content.read(CHUNK):
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST:
            line = number + len(whole)
            raise UserError(
                f"{file}: line {line} is longer than {LONGEST:,} bytes; a row of FER2013 has at most 9,300."
            )
        yield [(n, line) for n, line in enumerate(whole, start=number) if line.strip()]
        number += len(whole)
    if rest.strip():
        yield [(number, rest)]


def _parse(text: bytes, number: int, line: int, columns: list[str]) -> Row:
    row: dict[str, Any] = {"face_id": row_name(number), "image": row_name(number)}
    fields = _unquoted(text, row) if b'"' in text else text.split(b",")
    if len(fields) != len(columns):
        raise BadRow("malformed_row", f"{len(fields)} fields where {len(columns)} are expected", row)
    emotion, pixels, usage = (fields[columns.index(name)].strip() for name in COLUMNS)
    label = LABELS.get(emotion)
    if label is None:
        raise BadRow("unknown_label", f"emotion {_shown(emotion)} is not one of 0 to {N_EXPRESSIONS - 1}", row)
    row["label"] = label
    part = PARTS.get(usage)
    if part is None:
        known = ", ".join(name.decode() for name in PARTS)
        raise BadRow("unknown_usage", f"Usage {_shown(usage)} is none of {known}", row)
    return Row(number, line, label, part, pixels)


def _unquoted(text: bytes, row: dict[str, Any]) -> list[bytes]:
    try:
        (fields,) = csv.reader([text.decode("utf-8", "replace").strip()], strict=True, skipinitialspace=True)
    except csv.Error as error:
        raise BadRow("malformed_row", f"quotes that do not match ({error})", row) from error
    return [field.encode() for field in fields]


def _shown(value: bytes) -> str:
    return repr(value[:20].decode("utf-8", "replace"))


def _read_pixels(chunk: Chunk, file: Path) -> None:
    """Read the pixels of the chunk's rows; those without become problems, in the rows' order."""
    pixels, bad = parse_pixels([row.pixels for row in chunk.rows])
    for position, error in bad.items():
        row = chunk.rows[position]
        name = row_name(row.number)
        known = BadRow(error.reason, error.detail, {"face_id": name, "image": name, "label": row.label})
        chunk.problems.append(known.problem(f"{file.name}:{row.line}"))
    good = [position for position in range(len(chunk.rows)) if position not in bad]
    chunk.rows = [chunk.rows[position] for position in good]
    chunk.pixels = pixels[good] if bad else pixels
    chunk.problems.sort(key=lambda problem: int(problem["where"].rsplit(":", 1)[1]))
