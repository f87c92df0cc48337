"""Notes and facts of runs: descriptions for people, and tags on code and machine."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.evaluation.intervals import Interval
from mien.models.description import hardware_words

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOTE: Final = "mlflow.note.content"
REGISTERED: Final = "Registered"
TEST: Final = "Test set"
TRAINING: Final = "Training"
SEARCH: Final = "Search"
# A reader wants the verdict first; stages write in another order.
ORDER: Final = (REGISTERED, TEST, TRAINING, SEARCH)
PACKAGES: Final = ("torch", "pytorch-lightning", "numpy", "opencv-python-headless", "mlflow")
# DVC writes these while the pipeline runs: they say nothing about the code.
WRITTEN: Final = (":!reports", ":!dvc.lock", ":!data.dvc")


def run_facts(root: Path) -> dict[str, str]:
    """Tags on the code, the machine and the versions of a run; some milliseconds for git."""
    # One line, since a run's page shows each tag as a box of its own.
    versions = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)]
    return {
        **git_facts(root),
        **lock_facts(root),
        "mien.cpu": _cpu_name(),
        "mien.gpu": _gpu_name(),
        "mien.cores": str(os.cpu_count()),
        "mien.versions": ", ".join(versions),
        "mlflow.source.name": "pipelines/train.py",
        "mlflow.source.type": "LOCAL",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def git_facts(root: Path) -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git checkout."""
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    return {"mlflow.source.git.commit": commit, "mien.git_dirty": "true" if changed else "false"}


def _git(root: Path, *arguments: str) -> str:
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


def _cpu_name() -> str:
    """The processor's model as Linux names it, elsewhere its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_name() -> str:
    """The accelerator that this process can train on; `none` where torch is not even loaded."""
    torch = sys.modules.get("torch")
    try:
        if torch is None or not torch.cuda.is_available():
            return "none"
        return str(torch.cuda.get_device_name(0))
    except RuntimeError:  # a broken driver is no reason to lose a training on the processor
        return "unknown"


def with_section(note: str, title: str, text: str) -> str:
    """The note with one section `### title` set; other sections and a person's words stay."""
    parts = re.split(r"(?m)^### (.+)\n", note)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    sections[title] = text
    known = [name for name in ORDER if name in sections]
    ordered = [*known, *(name for name in sections if name not in ORDER)]
    blocks = [f"### {name}\n{sections[name]}" for name in ordered]
    return "\n\n".join([*filter(None, [parts[0].strip()]), *blocks])


def set_note(client: "MlflowClient", run_id: str, title: str, text: str) -> None:
    """Set a section of a run's description, unless it says the same already."""
    before = client.get_run(run_id).data.tags.get(NOTE, "")
    after = with_section(before, title, text)
    if after != before:
        client.set_tag(run_id, NOTE, after)


def evaluation_note(report: Mapping[str, Any], unlike: str = "") -> str:
    """What `reports/metrics.json` says, in a few lines; `unlike` says that this machine would train differently."""
    photos = f" in {report['photos']} photos" if "photos" in report else ""
    accuracy = Interval.from_json(report["accuracy"]).percent()
    lines = [
        f"**Accuracy {accuracy}**, 95 % interval, on {report['n']} faces{photos}; "
        f"the largest class alone gives {100 * report['majority_share']:.1f} %."
    ]
    if "macro_f1" in report:
        lines.append(f"Macro F1 {Interval.from_json(report['macro_f1']).percent()}.")
    if leak_free := report.get("leak_free"):
        accuracy = Interval.from_json(leak_free["accuracy"]).percent()
        lines.append(f"Without faces that have a copy in training ({leak_free['n']} faces): accuracy {accuracy}.")
    if unlike:
        lines.append(f"Published from a machine unlike the training's. {unlike}")
    return "\n".join([*lines, "The full report is the artifact `evaluation/report.html`."])


def training_note(lineage: Mapping[str, Any]) -> str:
    """What `build/train/lineage.json` says, in a few lines."""
    lines = [
        f"`{lineage['model']}` ({lineage['parameters']:,} parameters, {hardware_words(lineage)}), "
        f"trained on the data set {lineage['data']}.",
    ]
    for key, value in lineage["search"].get("overruled", {}).items():
        lines.append(f"- `{key}`: {_short(value['search'])} from the search, in place of {_short(value['config'])}")
    return "\n".join(lines)


def search_note(report: Mapping[str, Any]) -> str:
    """What `reports/tune.json` says, in a few lines."""
    trials = report["trials"]
    pruned = sum(trial["state"] == "PRUNED" for trial in trials)
    line = f"{len(trials)} trials (the child runs), {pruned} of them stopped early."
    if best := report.get("best"):
        line += f" The best is trial {best['trial']}: `{report['objective']}` {best['value']:.4f}."
    return line


def _short(value: Any) -> str:
    """A searched value, which need not be a number."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
