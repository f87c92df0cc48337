"""Workspace of the kill test: a checkout with a small drawn sample."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from pipelines.compose import STAGE_GROUPS

ROOT: Final = Path(__file__).resolve().parents[2]
STAGES: Final = tuple(STAGE_GROUPS)
SYNC: Final = "`mien sync` sends"
PHOTOS: Final = 80
RATES: Final = {"optim.lr": {"low": 0.003, "high": 0.01, "log": True}}
SHRUNK: Final[dict[str, dict[str, Any]]] = {
    "conf/train/short.yaml": {"epochs": 12, "batch_size": 8},
    "conf/tune/quick.yaml": {
        "trials": 3,
        "epochs": 2,
        "startup_trials": 3,
        "prune_after": 2,
        "space": {"optim.lr": {"low": 0.003, "high": 0.01, "log": True}},
    },
    "conf/evaluate/standard.yaml": {"bootstrap": 200},
    "conf/register/auto.yaml": {"bootstrap": 200, "alpha": 0.5, "max_ece": 1.0},  # so small a test set proves nothing
    "conf/model/resnet16.yaml": {"width": 8},
    "conf/split/grouped.yaml": {"min_per_class": 1},
}


@dataclass(frozen=True)
class Workspace:
    """The checkout, always at the same path: the tracking store holds absolute ones."""

    base: Path

    @property
    def folder(self) -> Path:
        """Where `dvc repro` runs."""
        return self.base / "mien"

    def repro(self, *arguments: str, output: Path | None = None) -> "subprocess.Popen[bytes]":
        """Start `dvc repro`; what it and its stages print goes to `output`."""
        with (output or self.base / "output.txt").open("ab") as file:
            return subprocess.Popen(
                ["dvc", "repro", *arguments], cwd=self.folder, env=self._environment(), stdout=file, stderr=file
            )

    def run(self, *command: str) -> str:
        """Run a command to its end; returns what it printed.

        Raises:
            RuntimeError: it failed; the message is what it printed.
        """
        code, said = self.attempt(*command)
        if code:
            raise RuntimeError(f"{' '.join(command)}:\n{said[-4000:]}")
        return said

    def attempt(self, *command: str) -> tuple[int, str]:
        """Run a command to its end; returns its exit code and what it printed."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    def start_over(self, trainer: str) -> None:
        """Copy the checkout into a repository of its own, shrink its settings, draw its sample and choose a trainer."""
        for old in (self.folder, self.base / "before"):
            shutil.rmtree(old, ignore_errors=True)
        self._copy()
        for file, values in {**SHRUNK, "params.yaml": {"trainer": trainer}}.items():
            path = self.folder / file
            path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))
        from tools.sample.dataset import draw_sample

        draw_sample(self.folder / "data/sample", photos=PHOTOS)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=k", "-c", "user.email=k@example.com", "commit", "-qm", "start")

    def advance(self, stage: str) -> float:
        """Keep a copy of everything as it is before a stage, and run the stage; returns its seconds."""
        shutil.copytree(self.folder, self.base / "before" / stage, symlinks=True)
        start = time.monotonic()
        said = self.run("dvc", "repro", stage)
        seconds = round(time.monotonic() - start, 2)
        if SYNC in said:  # a busy machine: the store did not answer in time
            self.run("mien", "sync")
        return seconds

    def restore(self, moment: str) -> None:
        """Bring back the copy of a moment."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.base / "before" / moment, self.folder, symlinks=True)

    def recorded(self, stage: str) -> bool:
        """Whether DVC has written the stage into dvc.lock."""
        lock = self.folder / "dvc.lock"
        return lock.exists() and f"\n  {stage}:\n" in lock.read_text()

    def lock(self) -> Any:
        """The content of dvc.lock."""
        return yaml.safe_load((self.folder / "dvc.lock").read_text())

    def _copy(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file() and name not in ("dvc.lock", "data.dvc") and not name.startswith("reports/"):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)

    def _environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.folder / 'src'}:{self.folder}",
            "OMP_NUM_THREADS": "1",
        }


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))
