"""Request queue: a few requests and cameras at once, some waiting, and a sentence for the rest."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mien.base.errors import UserError

SILENT: Final = 5.0  # seconds after its last picture in which a camera keeps its place


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
        self._lock = threading.Lock()
        self.inside = 0  # who compute and wait

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, and hold it while the block lasts; Refused where too many wait, or for too long."""
        busy = Refused("Too many requests at once; please try again in a moment.", 503)
        with self._lock:
            if self.inside >= self._most:
                raise busy
            self.inside += 1
        try:
            if not self._places.acquire(timeout=self._seconds):
                raise busy
            try:
                yield
            finally:
                self._places.release()
        finally:
            with self._lock:
                self.inside -= 1


class Cameras:
    """At most `most` live cameras, each for at most `seconds`; a camera is a random word of its page."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._live: dict[str, tuple[float, float]] = {}  # when it began, and when it sent its last picture
        self._lock = threading.Lock()

    def admit(self, camera: str) -> None:
        """Let a camera's picture in; Refused where others have all places, or this one has had its time."""
        now = time.monotonic()
        with self._lock:
            self._live = {name: times for name, times in self._live.items() if now - times[1] < SILENT}
            begun = self._live.get(camera, (now, now))[0]
            if now - begun > self._seconds:
                del self._live[camera]
                raise Refused(f"A camera stops after {self._seconds:g} seconds; start it again to go on.", 429)
            if camera not in self._live and len(self._live) >= self._most:
                raise Refused("Too many cameras are live; please try again in a moment.", 503)
            self._live[camera] = (begun, now)
