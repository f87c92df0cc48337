"""A photo's file, read no further than the limit, and only where it is a file."""

import os
import stat
from pathlib import Path
from typing import Final

from mien.faces.decode import UnreadablePhoto

KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe without a writer blocks `open`


def read_photo(file: Path, max_megabytes: float) -> bytes:
    """The bytes of a photo's file.

    Raises:
        UnreadablePhoto: `not_a_file`: a folder, pipe or device, or a name that no file can have; `too_large`: more than
            `max_megabytes`, and no more than that is read.
        OSError: it is not there, or may not be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | AT_ONCE)
    except ValueError as error:  # a NUL in its name
        raise UnreadablePhoto("not_a_file", "no file can have this name") from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            kind = next((words for is_kind, words in KINDS if is_kind(about.st_mode)), "something else")
            raise UnreadablePhoto("not_a_file", f"it is {kind}, not a file")
        limit = int(max_megabytes * 1e6)
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            data = b"" if about.st_size > limit else opened.read(limit + 1)  # a file may grow, or not know its size
    finally:
        os.close(descriptor)
    if about.st_size > limit or len(data) > limit:
        raise UnreadablePhoto("too_large", f"its file has more than {max_megabytes:g} megabytes")
    return data
