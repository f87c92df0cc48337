"""What a run has besides configuration and data: commit, machine and versions, as tags."""

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

SOURCE: Final = {"mlflow.source.name": "pipelines/train.py", "mlflow.source.type": "LOCAL"}
PACKAGES: Final = ("torch", "pytorch-lightning", "numpy", "opencv-python-headless", "mlflow")
# DVC writes these while the pipeline runs: they say nothing about the code.
WRITTEN: Final = (":!reports", ":!dvc.lock", ":!data.dvc")


def run_facts(root: Path) -> dict[str, str]:
    """Tags on the code, the machine and the versions of a run, but for its GPU; some milliseconds for git."""
    return {
        **git_facts(root),
        **lock_facts(root),
        "mien.cpu": cpu_name(),
        "mien.cores": str(os.cpu_count()),
        "mien.versions": versions(),
        **SOURCE,
    }


def versions() -> str:
    """Python's and the packages' versions, as one line: a run's page shows each tag as a box of its own."""
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)])


def git_facts(root: Path) -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git checkout."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    return {"mlflow.source.git.commit": commit, "mien.git_dirty": "true" if changed else "false"}


def lock_facts(root: Path) -> dict[str, str]:
    """The digest of dvc.lock, which names every input and output of the pipeline."""
    lock = root / "dvc.lock"
    if not lock.exists():
        return {}
    return {"mien.dvc_lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}


def cpu_name() -> str:
    """The processor's model as Linux names it, elsewhere its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpu_name() -> str:
    """The accelerator that a training of this process can use; `none` where torch is not even loaded."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_available():
            return "none"
        return str(torch.cuda.get_device_name(0))
    except RuntimeError:  # a broken driver is no reason to lose a training on the processor
        return "unknown"


def gpu_megabytes() -> float | None:
    """The accelerator's memory in use; None where this process does not use it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    free, total = torch.cuda.mem_get_info()
    return float(total - free) / 1e6


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
