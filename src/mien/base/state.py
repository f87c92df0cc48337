"""Locks and resumable state in `.mien/`: what must outlive a kill, held by one process at a time.

DVC deletes a stage's outs before it runs, so resumable state lies in `.mien/` of the main checkout, keyed
by a digest of configuration, data and code.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import mien
from mien.base.errors import UserError

DVC_COPIES: Final = (".dvc", "tmp", "exps")


def main_checkout(root: Path) -> Path:
    """The checkout a person works in, also where root is a copy in which DVC runs a queued experiment.

    DVC deletes such a copy when the experiment is done, so what must stay (tracking store, checkpoints, locks)
    belongs to the checkout that the copy was made from.
    """
    here = root.resolve()
    for folder in (here, *here.parents):
        if folder.parts[-3:] == DVC_COPIES:
            return folder.parents[2]
    return here


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


STARTED_BY: Final = os.getppid()
STALE: Final = 14  # days without a change, after which a state is no longer waited for


def state_folder(root: Path | None = None) -> Path:
    """`.mien/` of the main checkout, created where it is missing."""
    folder = main_checkout(root or Path.cwd()) / ".mien"
    folder.mkdir(exist_ok=True)
    return folder


def digest(*parts: Any) -> str:
    """A short name for JSON-able content: the first 16 hex digits of its SHA-256."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(*packages: str, root: Path | None = None) -> str:
    """The digest of the source files of `packages` (paths below the root, files or folders)."""
    base = root or Path(__file__).resolve().parents[3]
    files = sorted(f for p in packages for f in _sources(base / p))
    return digest([[f.relative_to(base).as_posix(), f.read_text(encoding="utf-8")] for f in files])


def _sources(path: Path) -> list[Path]:
    return [path] if path.is_file() else [f for f in path.rglob("*.py") if "__pycache__" not in f.parts]


@contextmanager
def kept_state(stage: str, key: str, about: Mapping[str, Any], root: Path | None = None) -> Iterator[Path]:
    """A folder for one stage's resumable state, held by one process and removed when the block succeeds.

    It stays where whoever started this process has died meanwhile. With it go the stage's states of other digests
    that nobody holds and nobody has changed for `STALE` days: a configuration or code that was edited after a kill.

    Args:
        stage: the stage's name.
        key: digest of configuration, data and code; another key is another folder.
        about: written beside the state for a person who looks.
        root: the workspace; the current folder unless told.

    Raises:
        UserError: another process holds it (its PID is named).
    """
    folder = state_folder(root) / stage / key
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder.with_suffix(".lock"), stage):
        (folder / "about.json").write_text(json.dumps(about, indent=2, sort_keys=True, default=str))
        yield folder
        # Nobody notes the outs of a stage whose `dvc` was killed: the next run makes them again, from the state.
        if os.getppid() == STARTED_BY:
            shutil.rmtree(folder)
            _forget_stale(folder.parent, stage)


def _forget_stale(states: Path, stage: str) -> None:
    gone = [state for state in sorted(states.iterdir()) if state.is_dir() and _is_stale(state)]
    for state in gone:
        try:
            with held(state.with_suffix(".lock"), stage):  # the lock's own file stays: another may just be opening it
                shutil.rmtree(state)
        except UserError:  # held, however old
            continue
        print(f"{stage}: removed {states.name}/{state.name} of .mien, which nobody has continued for {STALE} days")


def _is_stale(state: Path) -> bool:
    newest = max(file.stat().st_mtime for file in (state, *state.rglob("*")))
    return time.time() - newest > STALE * 24 * 3600


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Hold the checkout's turn; the system gives it back when its holder dies, however that happens."""
    folder = main_checkout(root) / ".mien"
    folder.mkdir(exist_ok=True)
    with (folder / "publish.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


CODE: Final = ("models", "training", "evaluation/label_noise.py")  # another code's folds are not continued


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
    files = sorted(file for room in CODE for file in _sources(package / room))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
