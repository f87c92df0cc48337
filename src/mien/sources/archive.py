"""7z archives in one file or in volumes: checks before unpacking, and unpacking once."""

import hashlib
import lzma
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.state import locked
from mien.sources.photos import leaves_folder

if TYPE_CHECKING:
    from py7zr import SevenZipFile

SIGNATURE: Final = b"7z\xbc\xaf\x27\x1c"
HEADER_BYTES: Final = 32


@dataclass(frozen=True)
class Volumes:
    """A whole archive as its one or several files, in order."""

    base: Path  # origin.7z, also where only origin.7z.001, ... exist
    files: tuple[Path, ...]
    header: bytes  # of 32 bytes; holds the checksum of the file list, and so identifies the archive's content


def find_volumes(base: Path) -> Volumes | None:
    """The checked volumes of `base` (`origin.7z`, or `.001`, ...), or None; a UserError names one missing or cut."""
    present = {int(f.suffix[1:]): f for f in base.parent.glob(f"{base.name}.*") if f.suffix[1:].isdecimal()}
    if missing := set(range(1, max(present, default=0) + 1)) - present.keys():
        raise UserError(f"{base}.{min(missing):03d} is missing; an archive needs all its volumes: download it.")
    files = [present[number] for number in sorted(present)] or ([base] if base.is_file() else [])
    if not files:
        return None
    with files[0].open("rb") as first:
        header = first.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(SIGNATURE):
        raise UserError(f"{files[0]} does not start as a 7z archive does; download it again.")
    skipped, listed = struct.unpack_from("<QQ", header, 12)  # what lies before the file list, and the list itself
    sizes = [file.stat().st_size for file in files]
    full = [max(sizes)] * (len(files) - 1)  # all volumes but the last are of one size
    last = HEADER_BYTES + skipped + listed - sum(full)
    for file, size, right in zip(files, sizes, [*full, last], strict=True):
        if size != right:
            why = f"it is damaged, or the volumes from {base.name}.{len(files) + 1:03d} on are missing"
            raise UserError(f"{file} has {size:,} bytes where the archive needs {right:,}: {why}; download it again.")
    return Volumes(base, tuple(files), header)


def list_files(volumes: Volumes) -> dict[str, int]:
    """Name and unpacked size in bytes of every file in the archive.

    A damaged list is a UserError, and a member that would be written outside its folder, is a link or appears twice.
    """
    files: dict[str, int] = {}
    with _opened(volumes) as archive:
        for member in archive.list():
            plain = (member.is_file or member.is_directory) and not member.is_symlink
            if leaves_folder(member.filename) or not plain or member.filename in files:
                wrong = "leads out of its folder, is a link or a device, or is there twice"
                raise UserError(f"{volumes.base.name}: member {member.filename!r} {wrong}; the archive is refused.")
            if member.is_file:
                files[member.filename] = member.uncompressed
    return files


def unpack(volumes: Volumes, unpack_to: Path) -> Path:
    """The folder below `unpack_to` that holds the archive's files, unpacked unless it is there already.

    Its name is a digest of names, sizes and header. A UserError as of `list_files`, for a wrong checksum, or no room.
    """

    def write(folder: Path) -> None:
        sizes = list_files(volumes)
        size, free = sum(sizes.values()), shutil.disk_usage(folder).free
        if size > free:
            raise UserError(f"{volumes.base.name} unpacks to {size:,} bytes, and {unpack_to} has {free:,} free.")
        with _opened(volumes, max_bytes=size) as archive:
            archive.extract(path=folder, targets=list(sizes))

    names = "\n".join(f"{file.name}:{file.stat().st_size}" for file in volumes.files)
    digest = hashlib.sha256(names.encode() + volumes.header).hexdigest()
    return unpack_once(unpack_to / digest[:16], write)


def unpack_once(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder, filled by `write` unless it exists. It appears by rename: a kill leaves nothing half unpacked."""
    with locked(folder.with_suffix(".lock"), "unpack", wait=True):
        if not folder.is_dir():
            with replacing(folder) as partial:
                partial.mkdir()
                write(partial)
    return folder


@contextmanager
def _opened(volumes: Volumes, max_bytes: int | None = None) -> "Iterator[SevenZipFile]":
    """The archive; whatever py7zr raises on a damaged one becomes one sentence."""
    import multivolumefile
    import py7zr  # only data sets in archives wait for it
    from py7zr.exceptions import ArchiveError, CrcError, PasswordRequired

    name = f"{volumes.base.name} in {volumes.base.parent}"
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / volumes.base.name
        # multivolumefile takes all that is named BASE.*, so it is shown links to the volumes alone
        for number, volume in enumerate(volumes.files, start=1):
            base.with_name(f"{base.name}.{number:06d}").symlink_to(volume.resolve())
        try:
            with (
                multivolumefile.open(base, "rb") as file,
                py7zr.SevenZipFile(cast(BinaryIO, file), max_extract_size=max_bytes) as archive,
            ):
                if archive.needs_password():
                    raise PasswordRequired
                yield archive
        except PasswordRequired as error:
            raise UserError(f"{name} is encrypted; unpack it yourself into {volumes.base.stem}/.") from error
        except CrcError as error:
            raise UserError(f"{name}: member {error.filename!r} is damaged; download it again.") from error
        except (ArchiveError, lzma.LZMAError, EOFError, struct.error) as error:
            raise UserError(f"{name} is damaged ({error or type(error).__name__}); download it again.") from error
