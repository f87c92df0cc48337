"""FER2013's csv, row by row: a label, an official part and 48 x 48 pixels, or a reason for exclusion.

The csv is plain, packed by gzip or xz, or a member of a tar or zip; it is unpacked while it is read. First bytes tell
which, since unpacking tools leave a tar under the csv's name.
"""

import csv
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, NamedTuple

import numpy as np

from mien.base.classes import N_EXPRESSIONS
from mien.base.errors import UserError
from mien.sources.photos import existing_folder
from mien.sources.source import BadRow

SIDE: Final = 48  # pixels; a face is SIDE x SIDE
VALUES: Final = SIDE * SIDE
PIXEL: Final = re.compile("0*([0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])")

# Kaggle's name for the set's second edition, whose header is "emotion, Usage, pixels".
NAMES: Final = ("fer2013.csv", "icml_face_data.csv")
PACKED: Final = ("", ".gz", ".xz", ".zip")
ARCHIVES: Final = ("fer2013.tar.gz", "fer2013.tgz", "fer2013.tar", "fer2013.zip", "fer2013")
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)

COLUMNS: Final = ("emotion", "pixels", "usage")
LABELS: Final = {str(label): label for label in range(N_EXPRESSIONS)}
USAGES: Final = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
LONGEST: Final = 1 << 16  # bytes; a row of 2,304 numbers has at most 9,300
BOM: Final = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """A usable row. `number` counts rows from 0 after the header, `line` lines from 1; `pixels` are 2,304 bytes."""

    number: int
    line: int
    label: int
    part: str
    pixels: bytes
    votes: list[float] | None = None  # FER+'s share of each class, where labels are soft


def find_csv(folder: Path) -> Path:
    """The one file in `folder` or its `fer2013/` that is or holds FER2013's csv; a UserError unless there is one."""
    known = [*(f"{name}{packed}" for name in NAMES for packed in PACKED), *ARCHIVES]
    places = (existing_folder(folder), folder / "fer2013")
    found = [place / name for place in places for name in known if (place / name).is_file()]
    if not found:
        raise UserError(f"{folder} holds no FER2013 file; expected is one of {', '.join(known)}.")
    if len(found) > 1:
        names = " and ".join(file.relative_to(folder).as_posix() for file in found)
        raise UserError(f"{folder} holds {names}; keep only the one to use.")
    return found[0]


def read_csv(file: Path) -> Iterator[Row | dict[str, str]]:
    """The rows in order, a problem in place of an unusable one; a damaged file or a wrong header is a UserError."""
    with _open_csv(file) as content:
        header = content.readline(LONGEST).removeprefix(BOM).decode("utf-8", "replace")
        columns = read_header(header.split(","), COLUMNS, file)
        number, line = 0, 1
        while text := content.readline(LONGEST + 1):
            line += 1
            if len(text) > LONGEST:
                longer = f"line {line} is longer than {LONGEST:,} bytes"
                raise UserError(f"{file}: {longer}; a row of FER2013 has at most 9,300.")
            if not text.strip():
                continue
            try:
                yield _parse_row(text, number, line, columns)
            except BadRow as bad:
                yield bad.problem(f"{file.name}:{line}")
            number += 1


def row_name(number: int) -> str:
    """The name of a row, as face and as photo: `row-00000` is the first after the header."""
    return f"row-{number:05d}"


@contextmanager
def _open_csv(file: Path) -> Iterator[IO[bytes]]:
    """The csv's bytes, unpacked while they are read; damage becomes a UserError then as well."""
    try:
        with ExitStack() as stack:
            layers: list[Any] = [stack.enter_context(file.open("rb"))]
            while inner := _unpacked(layers[-1], file, stack):
                layers.append(inner)
            yield layers[-1]
            for layer in layers[::-1]:  # up to the checksums at the end
                while layer.read(1 << 20):
                    pass
    except DAMAGED as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise UserError(f"{file} is damaged or breaks off ({why}); download it again.") from error


def _unpacked(content: Any, file: Path, stack: ExitStack) -> Any:
    """What packed bytes hold, by how they begin, whatever the file's name says; None where they are not packed."""
    head = content.peek(512)[:512]
    if head.startswith(b"\x1f\x8b"):
        return stack.enter_context(gzip.open(content))
    if head.startswith(b"\xfd7zXZ\0"):
        return stack.enter_context(lzma.open(content))
    if head[257:262] == b"ustar":
        tar = stack.enter_context(tarfile.TarFile.open(fileobj=content, mode="r|"))
        members = (tar.extractfile(one) for one in tar if one.isfile() and PurePosixPath(one.name).name in NAMES)
        inner = next(members, None)
    elif head.startswith(b"PK\3\4"):
        archive = stack.enter_context(zipfile.ZipFile(content))
        name = next((name for name in archive.namelist() if PurePosixPath(name).name in NAMES), None)
        try:
            inner = stack.enter_context(archive.open(name)) if name else None
        except (RuntimeError, NotImplementedError) as error:  # a password, or a packing that Python does not know
            raise UserError(f"{file} is a zip archive that cannot be read ({error}); unpack it yourself.") from error
    else:
        return None
    if inner is None:
        raise UserError(f"{file} holds no {NAMES[0]}; the distributed archive has it as fer2013/{NAMES[0]}.")
    return inner


def read_header(names: list[str], needed: Sequence[str], file: Path) -> list[str]:
    """The columns' names in order, in small letters; a UserError unless each that is needed is there once."""
    columns = [name.strip(" \"'\r\n").casefold() for name in names]
    if lacking := [name for name in needed if columns.count(name) != 1]:
        found = ",".join(names).strip()[:60]
        raise UserError(f"{file}: the first line is {found!r}; it must name {', '.join(lacking)} once.")
    return columns


def _parse_row(text: bytes, number: int, line: int, columns: list[str]) -> Row:
    row: dict[str, Any] = {"face_id": row_name(number), "image": row_name(number)}
    try:
        (fields,) = csv.reader([text.decode("utf-8", "replace").strip()], strict=True, skipinitialspace=True)
    except csv.Error as error:
        raise BadRow("malformed_row", f"the quotes do not match ({error})", row) from error
    if len(fields) != len(columns):
        raise BadRow("malformed_row", f"the row has {len(fields)} fields instead of {len(columns)}", row)
    emotion, pixels, usage = (fields[columns.index(name)].strip() for name in COLUMNS)
    if emotion not in LABELS:
        raise BadRow("unknown_label", f"emotion {emotion[:20]!r} is not one of 0 to {N_EXPRESSIONS - 1}", row)
    row["label"] = LABELS[emotion]
    if usage not in USAGES:
        raise BadRow("unknown_usage", f"Usage {usage[:20]!r} is none of {', '.join(USAGES)}", row)
    try:
        values = np.loadtxt([pixels], np.uint8, comments=None, ndmin=1) if pixels else np.empty(0, np.uint8)
    except ValueError:
        position, wrong = next((i, v) for i, v in enumerate([*pixels.split(), ""], start=1) if not PIXEL.fullmatch(v))
        detail = f"pixel {position} is {wrong[:20]!r}, not a whole number from 0 to 255"
        raise BadRow("bad_pixel", detail, row) from None
    if len(values) != VALUES:
        count = f"{len(values):,} pixel values where {SIDE} x {SIDE} = {VALUES:,} are needed"
        raise BadRow("wrong_pixel_count", count, row)
    return Row(number, line, LABELS[emotion], USAGES[usage], values.tobytes())
