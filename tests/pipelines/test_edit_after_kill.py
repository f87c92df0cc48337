"""A killed training goes on where it was, unless its code was edited: then its checkpoint is another training's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.pipelines.workspace import Workspace

TRAIN = "-m pipelines train data=sample model=resnet16 augment=standard optim=adamw train=short"


def first_epoch(here: Workspace, until_checkpoint: bool = False) -> str:
    """The first line that a training prints of an epoch; with `until_checkpoint` it is killed after its second."""
    environment = {**os.environ, "PYTHONPATH": f"{here.folder / 'src'}:{here.folder}", "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, *TRAIN.split()]
    with subprocess.Popen(
        command, cwd=here.folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as training:
        assert training.stderr is not None
        lines = (line.strip() for line in training.stderr if line.startswith("epoch"))
        first = next(lines)
        if until_checkpoint:
            next(lines)
            _wait_for(here.folder / ".mien/train", "last.ckpt")
        training.send_signal(signal.SIGKILL)
    return first


def _wait_for(folder: Path, name: str) -> None:
    while not list(folder.rglob(name)):
        time.sleep(0.01)


def test_an_edit_of_the_code_starts_a_killed_training_anew(workspace: Workspace) -> None:
    edited = "src/mien/training/optimizers.py"
    with workspace.kept(edited):
        assert first_epoch(workspace, until_checkpoint=True).startswith("epoch   1/")
        assert not first_epoch(workspace).startswith("epoch   1/")
        with (workspace.folder / edited).open("a") as source:
            source.write("\n# another schedule\n")
        assert first_epoch(workspace).startswith("epoch   1/")
