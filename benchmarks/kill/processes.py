"""Processes of one workspace, and killing them."""

import time
from pathlib import Path
from typing import Final

import psutil

KINDS: Final = ("dvc", "stage", "both")
COMMAND: Final = ["-m", "pipelines"]  # and the stage


def stage_process(folder: Path) -> tuple[str, psutil.Process] | None:
    """The name and process of the stage that runs in a workspace, orphan or not."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words[1:3] == COMMAND and len(words) > 3 and Path(process.cwd()) == folder:
                return words[3], process
        except (psutil.Error, OSError):
            continue
    return None


def strike(dvc: psutil.Process, stage: psutil.Process | None, kind: str) -> None:
    """Kill -9: DVC alone, the stage alone, or both with everything that they started."""
    if kind == "dvc" or stage is None:
        targets = [dvc]
    elif kind == "stage":
        targets = [stage]
    else:
        targets = [dvc, *dvc.children(recursive=True)]
    for process in targets:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def wait_for_quiet(folder: Path, seconds: float = 900) -> None:
    """Wait until nothing runs in the workspace any more; a stage that lost its DVC works on to its end.

    Raises:
        RuntimeError: something still runs after `seconds`.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not (left := _at_work_in(folder)):
            return
        time.sleep(0.2)
    raise RuntimeError(f"still at work after {seconds:g} s: {left}")


def alive(process: psutil.Process) -> bool:
    """Whether it runs (a zombie does not)."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _at_work_in(folder: Path) -> list[str]:
    left = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder:
                left.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
        except (psutil.Error, OSError):
            continue
    return left
