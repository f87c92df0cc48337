"""Progress of long work: bars on a terminal, and the listener protocol, for example of live tracking.

Stages that decide numbers call a `Listener` and do not know what listens; `pipelines/__main__.py` passes one in.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Step(Protocol):
    """What moves a bar."""

    def __call__(self, done: float, says: str, total: int = 0) -> None:
        """Move it to what is `done`, and say something of it; a `total` is given where it changes."""


class Listener:
    """Called at each step as it happens; this one does nothing. No method may raise, or keep the work waiting."""

    def started(self, lineage: Mapping[str, Any]) -> None:
        """The work begins; `lineage` says what its numbers depend on."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch of the training has ended; `row` is its line of history.csv."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """A trial of the search has ended: number, state, params, value and history."""

    def ended(self, outcome: str) -> None:
        """The work is over: "finished", "failed" or "killed"."""


@contextmanager
def following(listener: Listener, lineage: Mapping[str, Any]) -> Iterator[None]:
    """Call `started` when the block begins and `ended` when it is left, in whatever way."""
    listener.started(lineage)
    try:
        yield
    except BaseException as error:
        listener.ended("killed" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    listener.ended("finished")


@contextmanager
def progress_bar(name: str, total: int = 0, *, shown: bool = True) -> Iterator[Step]:
    """A bar on a terminal, with the time left; nothing elsewhere, or unless `shown`. What it yields moves the bar.

    It stays when the block ends, unless its total was not known at the beginning.
    """
    if not (shown and on_terminal()):
        yield lambda done, says, total=0: None
        return
    from rich import progress
    from rich.console import Console

    title, says = (progress.TextColumn(f"{{task.{key}}}", markup=False) for key in ("description", "fields[says]"))
    columns = (title, progress.BarColumn(20), progress.MofNCompleteColumn(), says)
    times = (progress.TimeElapsedColumn(), "/", progress.TimeRemainingColumn(), "left")
    console = Console(stderr=True, highlight=False)
    with progress.Progress(
        *columns, *times, console=console, refresh_per_second=2, speed_estimate_period=3600, transient=not total
    ) as bar:
        task = bar.add_task(name, total=total or None, says="")

        def step(done: float, says: str, total: int = total) -> None:
            bar.update(task, completed=done, total=total or None, says=says)

        yield step


def on_terminal() -> bool:
    """Whether a person watches: stderr is a terminal."""
    return sys.stderr.isatty()
