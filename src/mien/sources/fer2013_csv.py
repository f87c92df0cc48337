"""FER2013's csv, read in chunks: rows with a label, an official part and pixels, and the rows that have not."""

import csv
import gzip
import lzma
import tarfile
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

import numpy as np

from mien.base.classes import N_EXPRESSIONS
from mien.base.errors import UserError
from mien.sources.table import BadRow

SIDE: Final = 48  # pixels; a face is SIDE x SIDE
VALUES: Final = SIDE * SIDE
BRIGHTEST: Final = 255


def parse_pixels(texts: Sequence[bytes]) -> tuple[np.ndarray, dict[int, BadRow]]:
    """Pixel strings as (len(texts), 2304) uint8, and by position those that are none, whose pixels are 0.

    A string is 2,304 whole numbers from 0 to 255, separated by blanks. NumPy's parser says nothing when a number
    is too large for its type or when it meets what is no number; each face written out again must therefore be as
    long as its string. Where that is not so, as with two blanks or leading zeros, the strings are read one by one.
    """
    at_once = _parse_at_once(texts)
    if at_once is not None:
        return at_once, {}
    pixels = np.zeros((len(texts), VALUES), np.uint8)
    bad: dict[int, BadRow] = {}
    for position, text in enumerate(texts):
        try:
            pixels[position] = _parse_one(text)
        except BadRow as error:
            bad[position] = error
    return pixels, bad


def _parse_at_once(texts: Sequence[bytes]) -> np.ndarray | None:
    """All strings' pixels, or None where one of them is not written plainly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy 2 says that it met what is no number
        try:
            # 16 bits, since in 8 a number from 256 on would become another one of as many digits
            values = np.fromstring(b" ".join(texts), np.int16, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    if values.size != len(texts) * VALUES or (values.size and (values.min() < 0 or values.max() > BRIGHTEST)):
        return None
    pixels = values.astype(np.uint8).reshape(-1, VALUES)
    # row by row: along an axis, count_nonzero is twice as slow
    longer = zip(pixels > 9, pixels > 99, strict=True)
    further = [np.count_nonzero(two) + np.count_nonzero(three) for two, three in longer]
    plain = 2 * VALUES - 1  # one digit each, and the blanks between them
    return pixels if all(plain + n == len(text) for n, text in zip(further, texts, strict=True)) else None


def _parse_one(text: bytes) -> list[int]:
    values = text.split()
    if len(values) != VALUES:
        raise BadRow("wrong_pixel_count", f"{len(values):,} pixel values where {SIDE} x {SIDE} = {VALUES:,} are needed")
    for position, value in enumerate(values, start=1):
        if not (value.isdigit() and len(value) <= 9 and int(value) <= BRIGHTEST):
            shown = value[:20].decode("utf-8", "replace")
            raise BadRow("bad_pixel", f"pixel {position} is {shown!r}, no whole number from 0 to {BRIGHTEST}")
    return [int(value) for value in values]


# Kaggle's name for the set's second edition, whose header is "emotion, Usage, pixels".
NAMES: Final = ("fer2013.csv", "icml_face_data.csv")
PACKED: Final = ("", ".gz", ".xz")
ARCHIVE: Final = "fer2013.tar.gz"
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, tarfile.TarError)


def find_csv(folder: Path) -> Path:
    """The one file in `folder`, or in `fer2013/` below it, that is FER2013's csv or holds it.

    Raises:
        UserError: there is no such folder, none, or more than one.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; put the data set there, or name its own in conf/data.")
    known = [*(f"{name}{packed}" for name in NAMES for packed in PACKED), ARCHIVE]
    places = (folder, folder / "fer2013")
    found = [place / name for place in places for name in known if (place / name).is_file()]
    if not found:
        raise UserError(f"{folder} holds no FER2013: none of {', '.join(known)} is there.")
    if len(found) > 1:
        names = " and ".join(file.relative_to(folder).as_posix() for file in found)
        raise UserError(f"{folder} holds {names}; leave the one that is to be used.")
    return found[0]


@contextmanager
def open_csv(file: Path) -> Iterator[IO[bytes]]:
    """The csv's bytes, unpacked while they are read.

    Raises:
        UserError: the file is damaged or breaks off, or the archive holds no fer2013.csv; also while it is read.
    """
    try:
        with _opened(file) as content:
            yield content
    except DAMAGED as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise UserError(f"{file} is damaged or breaks off ({why}); download it again.") from error


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if file.name == ARCHIVE:
        # not tarfile's own "r|gz", which does not look at the checksum
        with gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            yield _member(archive, file)
            while packed.read(1 << 20):  # the checksum stands at the end
                pass
    else:
        openers: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
        with openers.get(file.suffix, open)(file, "rb") as content:
            yield content


def _member(archive: tarfile.TarFile, file: Path) -> IO[bytes]:
    """The csv as a stream: nothing of the archive is written anywhere."""
    for member in archive:
        if member.isfile() and PurePosixPath(member.name).name == NAMES[0]:
            content = archive.extractfile(member)
            if content is not None:
                return content
    raise UserError(f"{file} holds no {NAMES[0]}; the distributed archive has it as fer2013/{NAMES[0]}.")


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
