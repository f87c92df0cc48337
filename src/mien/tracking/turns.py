"""Processes of one checkout take turns in bringing runs level: two at once would send the same numbers twice."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.checkout import main_checkout


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Hold the checkout's turn; the system gives it back when its holder dies, however that happens."""
    folder = main_checkout(root) / ".mien"
    folder.mkdir(exist_ok=True)
    with (folder / "publish.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
