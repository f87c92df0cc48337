"""What commands print: results on stdout, sentences about what went wrong on stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mien.base.errors import printable

if TYPE_CHECKING:
    from rich.console import Console


def say(sentence: str) -> None:
    """A sentence, or several lines of them, on stderr; what would act on the terminal is escaped."""
    print("\n".join(printable(line) for line in sentence.split("\n")), file=sys.stderr)


def console() -> "Console":
    """For tables on stdout: coloured on a terminal, plain elsewhere and where NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=False)


def show(what: Any) -> None:
    """Print a rich table or text on stdout."""
    console().print(what)


@contextmanager
def without_libraries_on_stderr() -> Iterator[None]:
    """Keep C libraries from writing to stderr: libjpeg does for many a photo that it decodes well.

    Python's own `sys.stderr` goes on as before.
    """
    own = sys.stderr
    own.flush()
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with os.fdopen(os.dup(terminal), "w", encoding="utf-8") as still_there:
            if own is sys.__stderr__:
                sys.stderr = still_there
            yield
    finally:
        sys.stderr = own
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
