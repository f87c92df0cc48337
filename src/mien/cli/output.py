"""Terminal output: results on stdout, problems on stderr, progress bars on a terminal."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from mien.base.errors import printable
from mien.base.listener import progress_bar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table


def say(text: str) -> None:
    """Print sentences on stderr, one a line; characters that would act on the terminal are escaped."""
    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr)


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 face`, `1,200 faces`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def fail(sentence: str, code: int) -> NoReturn:
    """Say what is wrong and end the command with an exit code."""
    say(f"mien: {sentence}")
    raise typer.Exit(code)


def console() -> "Console":
    """The console for stdout: coloured on a terminal, plain elsewhere and where NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, soft_wrap=False)


def table(*columns: "str | Column", **options: Any) -> "Table":
    """A table with a rule under its head; columns and options are those of `rich.table.Table`."""
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, **options)


@contextmanager
def progress(name: str, unit: str, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar that does not stay, under `quiet_libraries`; yields a function of units done and expected, or 0."""
    began = time.perf_counter()
    with quiet_libraries(), progress_bar(printable(name), shown=shown) as step:

        def update(done: int, expected: int) -> None:
            speed = f"{done / (time.perf_counter() - began):,.1f} {unit}s/s"
            step(done, speed, max(done, expected) if expected else 0)

        yield update


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep C libraries from writing to stderr, as libjpeg does about many photos; Python's `sys.stderr` still works."""
    sys.stderr.flush()
    with Path(os.devnull).open("w") as nowhere, os.fdopen(os.dup(2), "w", encoding="utf-8") as terminal:
        os.dup2(nowhere.fileno(), 2)
        try:
            with redirect_stderr(terminal if sys.stderr is sys.__stderr__ else sys.stderr):
                yield
        finally:
            os.dup2(terminal.fileno(), 2)
