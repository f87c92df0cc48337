"""Request queue: a few requests at once, some waiting, and a sentence for the rest."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mien.base.errors import UserError


class Refused(UserError):
    """What a visitor gave cannot be answered: a sentence for the visitor, and its HTTP status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Turns:
    """At most `at_once` callers at the same time, and at most `queue` who wait, `seconds` each."""

    def __init__(self, at_once: int, queue: int, seconds: float) -> None:
        self._places = threading.BoundedSemaphore(at_once)
        self._most = at_once + queue
        self._seconds = seconds
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many compute and wait."""
        return self._inside

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and hold it while the block lasts.

        Raises:
            Refused: too many wait already, or the wait was too long.
        """
        self._enter()
        try:
            if not self._places.acquire(timeout=self._seconds):
                raise _busy()
            try:
                yield
            finally:
                self._places.release()
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._inside >= self._most:
                raise _busy()
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1


def _busy() -> Refused:
    return Refused("Too many photos at once; please try again in a moment.", 503)
