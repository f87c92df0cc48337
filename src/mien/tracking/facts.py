"""Run facts: code, machine, libraries and peak memory."""

import hashlib
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

PACKAGES: Final = ("torch", "pytorch-lightning", "numpy", "opencv-python-headless", "mlflow")
# DVC writes these while the pipeline runs: they say nothing about the code.
WRITTEN: Final = (":!reports", ":!dvc.lock", ":!data.dvc")


def run_facts(root: Path) -> dict[str, str]:
    """Tags on the code, the machine and the versions of a run; some milliseconds for git."""
    # One line, since a run's page shows each tag as a box of its own.
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    return {
        **git_facts(root),
        **lock_facts(root),
        "mien.cpu": _cpu_name(),
        "mien.cores": str(os.cpu_count()),
        "mien.versions": ", ".join(versions),
        "mlflow.source.name": "pipelines/train.py",
        "mlflow.source.type": "LOCAL",
    }


def git_facts(root: Path) -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git checkout."""
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"mlflow.source.git.commit": commit, "mien.git_dirty": "true" if changed_files(root) else "false"}


def changed_files(root: Path) -> list[str]:
    """Tracked files that differ from the commit, without what a run of the pipeline writes."""
    return git(root, "diff", "--name-only", "--relative", "HEAD", "--", ".", *WRITTEN).splitlines()


def git(root: Path, *arguments: str) -> str:
    """What a git command prints in a folder; empty where it fails."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def lock_facts(root: Path) -> dict[str, str]:
    """The digest of dvc.lock, which names every input and output of the pipeline; empty where there is none."""
    lock = root / "dvc.lock"
    return {"mien.dvc_lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:16]} if lock.exists() else {}


def memory_megabytes() -> float:
    """The memory that this process and its children have now; what several of them share counts for each."""
    total = 0
    with suppress(psutil.Error):  # a child may end meanwhile
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            total += process.memory_info().rss
    return total / 1e6


def _cpu_name() -> str:
    """The processor's model as Linux names it, elsewhere its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
