"""Where FER2013's csv lies and how it is packed: plain, gzip, xz, or the tar.gz in which it was distributed."""

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from mien.errors import UserError

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
