"""Where the folds that are done outlive a kill: `.mien/labels/KEY` of the main checkout, for one process at a time."""

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import mien
from mien.checkout import main_checkout
from mien.errors import UserError

CODE: Final = ("models", "training", "labels")  # another code's folds are not continued


@contextmanager
def kept_folds(root: Path, about: Any) -> Iterator[Path]:
    """A folder for the work that `about` (JSON-able) describes, with this code; it goes when the block succeeds.

    Raises:
        UserError: another process is at the same work.
    """
    key = hashlib.sha256(json.dumps([about, _code()], sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = main_checkout(root) / ".mien" / "labels" / key
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            busy = "another `mien labels` is at this very work; wait for it or end it, then run again."
            raise UserError(busy) from error
        yield folder
        shutil.rmtree(folder)


def _code() -> list[str]:
    package = Path(mien.__file__).parent
    files = sorted(file for room in CODE for file in (package / room).rglob("*.py"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
