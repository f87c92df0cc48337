"""One process at a time: a lock that the system drops when its holder dies, however it dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mien.errors import UserError

LOCKS: Final = Path("build/.partial")


@contextmanager
def at_work(stage: str, root: Path | None = None) -> Iterator[None]:
    """Hold a stage of a workspace: a killed `dvc` leaves its stage running, and the next one starts a second.

    Raises:
        UserError: another process holds it (its PID is named).
    """
    folder = (root or Path.cwd()) / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / f"{stage}.lock", stage):
        yield


@contextmanager
def held(lock: Path, stage: str) -> Iterator[None]:
    """Hold an advisory lock, with our PID in it.

    Raises:
        UserError: another process holds it (its PID is named).
    """
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(
                f"{stage}: process {file.read().strip() or 'unknown'} is still at this very work "
                "(a killed `dvc` leaves its stage running); wait for it or kill it, then run again."
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
