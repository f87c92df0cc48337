"""A checkout of mien in a folder of its own: the real code and configuration, shrunk, on a small drawn sample."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo

ROOT = Path(__file__).resolve().parents[2]
# Small enough for half a minute, and enough for the gate to promote what was learnt.
SHRUNK = {
    "conf/augment/standard.yaml": dict.fromkeys(
        ("strength", "flip", "rotate", "shift", "zoom", "brightness", "contrast"), 0.0
    ),
    "conf/optim/adamw.yaml": {"lr": 0.003},
    "conf/train/short.yaml": {"epochs": 12, "batch_size": 16},
    "conf/tune/quick.yaml": {
        "trials": 3,
        "epochs": 2,
        "startup_trials": 3,
        "prune_after": 2,
        "confirm": {"best": 0, "seeds": 0},
        "space": {"optim.lr": {"low": 0.002, "high": 0.004, "log": True}, "model.dropout": {"low": 0.0, "high": 0.1}},
    },
    "conf/evaluate/standard.yaml": {"bootstrap": 200},
    "conf/register/auto.yaml": {"bootstrap": 200},
    "conf/split/grouped.yaml": {"min_per_class": 1},
}


class Workspace:
    """A checkout of mien with a small sample, and what a user types in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command in the checkout, with its own code and the tracking store that mien chooses."""
        around = {
            **{k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.folder / 'src'}:{self.folder}",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        # Files and no pipes: DVC's queue workers outlive their command, and hold its output open for minutes.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = subprocess.run(command, cwd=self.folder, env=around, stdout=out, stderr=err).returncode
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(command, code, out.read(), err.read())
        assert done.returncode == 0 or not check, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def commit(self, message: str) -> None:
        """All that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", message)

    def edit(self, file: str, **values: Any) -> None:
        """Set keys of a YAML file."""
        path = self.folder / file
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}, sort_keys=False))

    @contextmanager
    def kept(self, *files: str) -> Iterator[None]:
        """What a block does to these files is undone after it."""
        before = {self.folder / file: (self.folder / file).read_bytes() for file in files}
        try:
            yield
        finally:
            for path, content in before.items():
                path.write_bytes(content)

    @contextmanager
    def dvc(self) -> Iterator[Repo]:
        """What DVC's commands call, without a process of its own."""
        with chdir(self.folder), Repo() as repo:
            yield repo

    def stale(self) -> set[str]:
        """The stages that `dvc repro` would run because something that they depend on changed."""
        with self.dvc() as repo:
            return {name for name, why in repo.status().items() if why != ["always changed"]}

    def report(self, name: str) -> Any:
        """One of the JSON reports."""
        return json.loads((self.folder / f"reports/{name}.json").read_text())


def new_workspace(folder: Path, photos: int = 320) -> Workspace:
    """A git and DVC repository with what stands in this one, shrunk, committed, and never run."""
    from tools.sample.dataset import draw_sample

    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and name not in ("dvc.lock", "data.dvc"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    here = Workspace(folder)
    draw_sample(folder / "data/sample", photos=photos)
    (folder / "data.dvc").write_text("outs:\n- path: data/sample\n")
    for file, values in SHRUNK.items():
        here.edit(file, **values)
    here.run("git", "init", "-q", "-b", "main")
    here.commit("start")
    return here
