"""Listener protocol: progress reports of a training or a search, for example to live tracking.

Stages that decide numbers call a `Listener` and do not know what listens; `pipelines/__main__.py` passes one in.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


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
