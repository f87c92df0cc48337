"""The volumes of a split 7z archive: are all of them there, and whole?

A 7z archive starts with a signature header that says where its file list ends, which is where the archive
ends; so the first volume tells how many bytes, and with the size of a volume how many volumes, there must be.
Format: 7zFormat.txt of the 7-Zip sources.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import UserError

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
