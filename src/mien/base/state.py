"""Locks and resumable state: data that survives a kill, used by one process at a time.

DVC deletes a stage's outs before it runs, so resumable state lies in `.mien/` of the main checkout (or where the
environment variable MIEN_STATE says), keyed by a digest of configuration, data and code.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from mien.base.errors import UserError
from mien.base.files import stage_folder

DVC_COPIES: Final = (".dvc", "tmp", "exps")
STARTED_BY: Final = os.getppid()
STALE_DAYS: Final = 14  # without a change, after which a state is removed


def main_checkout(root: Path) -> Path:
    """The checkout a person works in, also where `root` is a copy in which DVC runs a queued experiment.

    DVC deletes such a copy in the end: what must stay (tracking store, checkpoints, locks) belongs to its checkout.
    """
    here = root.resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:] == DVC_COPIES:
            return folder.parents[2]
    return here


def state_folder(root: Path | None = None) -> Path:
    """MIEN_STATE, or else `.mien/` of the main checkout; created where it is missing."""
    given = os.environ.get("MIEN_STATE")
    folder = Path(given).expanduser() if given else main_checkout(root or Path.cwd()) / ".mien"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(file: Path, work: str, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file with our PID, freed when we die; another's is waited for, or a UserError names its PID."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    try:
        lock.acquire(blocking=wait)
    except Timeout as error:
        holder = file.read_text(encoding="utf-8").strip() or "unknown"
        raise still_working(work, holder) from error
    try:
        file.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


def still_working(work: str, process: object) -> UserError:
    """The error where another process, by its PID, does this work."""
    return UserError(f"{work}: process {process} is still working on this; wait for it or kill it, then run again.")


def stage_lock(stage: str) -> AbstractContextManager[None]:
    """Hold a stage, as `locked`: a killed `dvc` leaves its stage running, and the next one would start a second."""
    return locked(stage_folder(Path.cwd()) / f"{stage}.lock", stage)


def publish_lock(root: Path) -> AbstractContextManager[None]:
    """Hold the right to write this checkout's runs to the tracking store; wait for another process that has it."""
    return locked(state_folder(root) / "publish.lock", "publish", wait=True)


@contextmanager
def resumable_state(work: str, key: str, about: Mapping[str, Any], root: Path | None = None) -> Iterator[Path]:
    """A folder for the resumable state of some work, held by one process and removed when the block succeeds.

    It stays where the process that started this one has died: the next `dvc` must find the result. On success the
    work's states of other digests go too that nobody holds and nobody has changed for STALE_DAYS. `key` is a digest of
    configuration, data and code; `about` is written beside the state for a person who looks. Errors as of `locked`.
    """
    folder = state_folder(root) / work / key
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock"), work):
        (folder / "about.json").write_text(json.dumps(about, indent=2, sort_keys=True, default=str), encoding="utf-8")
        yield folder
        if os.getppid() == STARTED_BY:
            shutil.rmtree(folder)
            for state in sorted(path for path in folder.parent.iterdir() if path.is_dir()):
                newest = max(file.stat().st_mtime for file in (state, *state.rglob("*")))
                if time.time() - newest < STALE_DAYS * 24 * 3600:
                    continue
                # In use, however old, it stays, as the lock file does, which another process may be opening.
                with suppress(UserError), locked(state.with_suffix(".lock"), work):
                    shutil.rmtree(state)
                    print(f"{work}: removed {state.name} of {folder.parent}, unused for {STALE_DAYS} days")


def digest(*parts: Any) -> str:
    """A short name for JSON-able content: the first 16 hex digits of its SHA-256."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(*names: str, package: Path | None = None) -> str:
    """The digest of the source of `names`: files and folders of the package, by default mien."""
    base = package or Path(__file__).resolve().parents[1]
    places = [base / name for name in names]
    files = [file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place])]
    return digest([[file.relative_to(base).as_posix(), file.read_text(encoding="utf-8")] for file in sorted(files)])
