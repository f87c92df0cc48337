"""Terminal output: results on stdout, problems on stderr, progress bars on a terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from mien.base.errors import printable

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
def progress(unit: str, name: str | None = None, *, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, under `quiet_libraries`; yields a function of units done and expected, or 0."""
    from tqdm import tqdm

    hidden = None if shown else True  # None: hidden where stderr is no terminal
    with quiet_libraries(), tqdm(desc=name, unit=unit, leave=False, disable=hidden) as bar:

        def update(done: int, expected: int) -> None:
            bar.total = max(expected, done) if expected else None
            bar.update(done - bar.n)

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
