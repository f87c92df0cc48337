"""Listener protocol: how a training or a search reports its progress, for example to live tracking.

Stages that decide numbers call a `Listener` and do not know what listens; `pipelines/__main__.py` passes one in.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Listener(Protocol):
    """Called at each step as it happens. No method may raise, or keep the work waiting."""

    def started(self, lineage: Mapping[str, Any]) -> None:
        """The work begins; `lineage` says what its numbers depend on."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """An epoch of the training has ended; `row` is its line of history.csv."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """A trial of the search has ended: number, state, params, value and history."""

    def ended(self, outcome: str) -> None:
        """The work is over: "finished", "failed" or "killed"."""


class Silent:
    """A listener that does nothing."""

    def started(self, lineage: Mapping[str, Any]) -> None:
        """Do nothing."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Do nothing."""

    def trial(self, row: Mapping[str, Any]) -> None:
        """Do nothing."""

    def ended(self, outcome: str) -> None:
        """Do nothing."""


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
