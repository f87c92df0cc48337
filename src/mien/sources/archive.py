"""Safe reading of a 7z archive: its file list is checked before anything is written."""

import hashlib
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import psutil

from mien.base.errors import UserError
from mien.sources.photos import leaves_folder

if TYPE_CHECKING:
    from py7zr import SevenZipFile
    from py7zr.py7zr import ArchiveFile

SIGNATURE: Final = b"7z\xbc\xaf\x27\x1c"
HEADER_BYTES: Final = 32


@dataclass(frozen=True)
class Volumes:
    """A whole archive as its one or several files, in order."""

    base: Path  # origin.7z, also where only origin.7z.001, ... exist
    files: tuple[Path, ...]
    header: bytes  # of 32 bytes; holds the checksum of the file list, and so names the archive's content


def find_volumes(base: Path) -> Volumes | None:
    """The checked volumes of the archive `base` (`origin.7z` itself, or `.001`, `.002`, ...), or None.

    Raises:
        UserError: a volume is missing, cut short or not part of a 7z archive; names the volume and what
            is expected.
    """
    files = _numbered(base) or ([base] if base.is_file() else [])
    if not files:
        return None
    header = _signature_header(files[0])
    _check_sizes(files, _archive_bytes(header))
    return Volumes(base, tuple(files), header)


def _numbered(base: Path) -> list[Path]:
    """`base.001` to the highest number present; every number must be there."""
    present = {int(f.suffix[1:]): f for f in base.parent.glob(f"{base.name}.*") if f.suffix[1:].isdecimal()}
    for number in range(1, max(present, default=0) + 1):
        if number not in present:
            raise UserError(
                f"{base.name}.{number:03d} is missing in {base.parent}, though volume {max(present)} is there; "
                "an archive needs all its volumes, download the missing one."
            )
    return [present[number] for number in sorted(present)]


def _signature_header(first: Path) -> bytes:
    with first.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(SIGNATURE):
        raise UserError(f"{first} does not start as a 7z archive does; download it again.")
    return header


def _archive_bytes(header: bytes) -> int:
    """The size of the whole archive: the header, what it skips, and the file list."""
    skipped, listed = struct.unpack_from("<QQ", header, 12)
    return int(HEADER_BYTES + skipped + listed)


def _check_sizes(files: list[Path], expected: int) -> None:
    sizes = [file.stat().st_size for file in files]
    if sum(sizes) == expected:
        return
    volume = max(sizes)
    for file, size in zip(files[:-1], sizes[:-1], strict=True):
        if size != volume:
            raise UserError(
                f"{file} has {size:,} bytes where a volume of this archive has {volume:,}; download it again."
            )
    count = -(-expected // volume)
    last = expected - volume * (len(files) - 1)
    if len(files) == 1 and sizes[0] < expected:
        raise UserError(
            f"{files[0]} has {sizes[0]:,} bytes where its header announces an archive of {expected:,}: it is cut "
            f"short, or the volumes from {files[0].stem}.002 on are missing; download what is missing."
        )
    if count > len(files) and sizes[-1] == volume:
        raise UserError(
            f"{files[0].with_suffix('')} has {len(files)} volumes of {volume:,} bytes where its header announces "
            f"{expected:,} bytes: {count} volumes are expected, {files[-1].stem}.{len(files) + 1:03d} is missing."
        )
    raise UserError(
        f"{files[-1]} has {sizes[-1]:,} bytes where {last:,} are expected (the archive has {expected:,} bytes "
        "in all); download it again."
    )


def list_files(volumes: Volumes) -> dict[str, int]:
    """Name and unpacked size in bytes of every file in the archive.

    Raises:
        UserError: the file list is damaged, or a member would be written outside its folder, is a link, or
            stands twice; the member is named.
    """
    with _opened(volumes) as archive:
        files: dict[str, int] = {}
        for member in archive.files:
            _refuse_unsafe(member, volumes)
            if member.is_directory:
                continue
            if member.filename in files:
                raise UserError(f"{volumes.base.name}: member {member.filename!r} stands twice; make the archive anew.")
            files[member.filename] = member.uncompressed
        return files


def unpack(volumes: Volumes, unpack_to: Path) -> Path:
    """The folder below `unpack_to` that holds the archive's files, unpacked unless it is there already.

    The folder's name is a digest of the volumes' names and sizes and the signature header (which holds the
    checksum of the file list with every file's own checksum), so another archive gets another folder. It
    appears by rename when whole, so that a kill leaves nothing half.

    Raises:
        UserError: as `list_files`; a file's checksum is wrong; or the disk lacks the room.
    """
    folder = unpack_to / _identity(volumes)
    if folder.is_dir():
        return folder
    sizes = list_files(volumes)
    unpack_to.mkdir(parents=True, exist_ok=True)
    _refuse_too_large(volumes, sum(sizes.values()), unpack_to)
    forget_killed(folder)
    waiting = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    waiting.mkdir()
    try:
        with _opened(volumes, max_bytes=sum(sizes.values())) as archive:
            archive.extract(path=waiting, targets=list(sizes))
        if not folder.is_dir():  # another process may have been faster
            waiting.rename(folder)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return folder


def forget_killed(folder: Path) -> None:
    """Remove what processes that are no more had unpacked in part."""
    for partial in folder.parent.glob(f"{folder.name}.*.partial"):
        if not psutil.pid_exists(int(partial.suffixes[-2][1:])):
            shutil.rmtree(partial, ignore_errors=True)


def _identity(volumes: Volumes) -> str:
    named = [f"{file.name}:{file.stat().st_size}" for file in volumes.files]
    return hashlib.sha256("\n".join(named).encode() + volumes.header).hexdigest()[:16]


@contextmanager
def _opened(volumes: Volumes, max_bytes: int | None = None) -> "Iterator[SevenZipFile]":
    """The archive, with every way in which py7zr says "damaged" turned into one sentence."""
    import lzma
    import struct

    import py7zr
    from py7zr.exceptions import ArchiveError

    name = f"{volumes.base.name} in {volumes.base.parent}"
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_as_one_file(volumes))
            archive = stack.enter_context(py7zr.SevenZipFile(file, max_extract_size=max_bytes))
            if archive.needs_password():
                raise UserError(f"{name} is encrypted; unpack it yourself into {volumes.base.stem}/.")
            yield archive
        except py7zr.exceptions.CrcError as error:
            raise UserError(
                f"{name}: member {error.args[-1]!r} is damaged (wrong checksum); download it again."
            ) from error
        except py7zr.exceptions.PasswordRequired as error:
            raise UserError(f"{name} is encrypted; unpack it yourself into {volumes.base.stem}/.") from error
        except (ArchiveError, lzma.LZMAError, EOFError, struct.error) as error:
            raise UserError(f"{name} is damaged ({error or type(error).__name__}); download it again.") from error


@contextmanager
def _as_one_file(volumes: Volumes) -> Iterator[BinaryIO]:
    """The volumes as one file; multivolumefile takes all that is named `BASE.*`, so it is shown only the volumes."""
    import multivolumefile

    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(volumes.files, start=1):
            (Path(folder) / f"{volumes.base.name}.{number:06d}").symlink_to(file.resolve())
        with multivolumefile.open(Path(folder) / volumes.base.name, "rb") as whole:
            yield cast(BinaryIO, whole)


def _refuse_unsafe(member: "ArchiveFile", volumes: Volumes) -> None:
    wrong = ""
    if leaves_folder(member.filename):
        wrong = "would be written outside its folder"
    elif member.is_symlink or member.is_junction:
        wrong = "is a link"
    elif member.is_socket:
        wrong = "is a socket"
    if wrong:
        raise UserError(f"{volumes.base.name}: member {member.filename!r} {wrong}; the archive is refused.")


def _refuse_too_large(volumes: Volumes, unpacked: int, onto: Path) -> None:
    free = shutil.disk_usage(onto).free
    if unpacked > free:
        raise UserError(
            f"{volumes.base.name} unpacks to {unpacked:,} bytes and {onto} has {free:,} free; make room there."
        )


def below(name: str, folder: str) -> str:
    """A member's name as seen from `folder`, which the archive may or may not hold: `origin/a.jpg` -> `a.jpg`."""
    parts = PurePosixPath(name).parts
    return "/".join(parts[1:] if parts[0] == folder and len(parts) > 1 else parts)
