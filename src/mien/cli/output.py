"""What commands print: results on stdout, sentences about what went wrong on stderr."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def say(sentence: str) -> None:
    """A sentence on stderr."""
    print(sentence, file=sys.stderr)


def console() -> "Console":
    """For tables on stdout: coloured on a terminal, plain elsewhere and where NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=False)


def show(what: Any) -> None:
    """Print a rich table or text on stdout."""
    console().print(what)
