"""Reproducible split 7z volumes."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import py7zr
from py7zr.helpers import ArchiveTimestamp

WRITTEN: Final = 1577836800.0  # 2020-01-01 00:00 UTC, the time of every file in the archive


def write_volumes(base: Path, files: Iterable[tuple[str, bytes]], volume: int) -> None:
    """Write (name, bytes) to base.001, base.002, ... of `volume` bytes each, the last one shorter.

    Nothing is compressed, because JPEGs cannot be, and the header is plain: compressors may change
    their output from version to version.
    """
    whole = _archive(files)
    for number, start in enumerate(range(0, len(whole), volume), 1):
        base.with_name(f"{base.name}.{number:03d}").write_bytes(whole[start : start + volume])


def _archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
        archive.set_encoded_header_mode(False)
        for name, data in files:
            archive.writestr(data, name)
        for entry in archive.header.files_info.files:  # py7zr takes the time of writing and no other
            for key in ("creationtime", "lastwritetime", "lastaccesstime"):
                entry[key] = ArchiveTimestamp.from_datetime(WRITTEN)
    return buffer.getvalue()
