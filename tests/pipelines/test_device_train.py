"""A training on another machine, which has PyTorch and little else, and its way back into the DAG."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.memory import generate
from mien.training.inputs import ADOPTED
from pipelines.__main__ import run_stage
from tools import device_train

CHOICES = {"data": "sample", "model": "lenet48", "augment": "batched", "optim": "adam", "train": "lenet48"}
TRAIN = [f"{group}={choice}" for group, choice in {**CHOICES, "trainer": "single"}.items()]


def bare_environment(folder: Path) -> Path:
    """A folder of links to PyTorch, NumPy, SciPy and what they need, and nothing else."""
    folder.mkdir()
    waiting, seen = ["torch", "numpy", "scipy"], set[str]()
    while waiting:
        name = re.split(r"[ ;<>=!\[]", waiting.pop())[0].lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            library = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(library.locate_file(top)))
        waiting += [needed for needed in library.requires or () if "extra ==" not in needed]
    return folder


@pytest.mark.slow
def test_what_another_machine_trained_is_taken_over_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    generate(tmp_path, 300)
    run_stage("tune", [*TRAIN, "tune=none"])
    chosen = {**CHOICES, "crop": "grey48", "split": "grouped", "trainer": "single", "tune": "none"}
    Path("params.yaml").write_text(json.dumps({**chosen, "evaluate": "standard", "register": "auto"}))
    packed, result = tmp_path / "packed", tmp_path / "result"
    device_train.pack(packed)
    libraries = bare_environment(tmp_path / "libraries")
    subprocess.run(
        [sys.executable, "-S", str(packed / "run.py"), str(packed), str(result)],
        cwd="/",
        env={"PYTHONPATH": str(libraries)},
        check=True,
    )
    assert sorted(file.name for file in result.iterdir()) == ["fitted.pt.000", "speed.json"]
    device_train.adopt(packed, result)

    (adopted,) = (tmp_path / "state" / ADOPTED).iterdir()
    outcome = torch.load(adopted, weights_only=True)
    outcome["made_on"] |= {"device": "gpu", "gpu": "NVIDIA H100"}
    torch.save(outcome, adopted)
    capsys.readouterr()
    run_stage("train", TRAIN)
    assert "train: taken over from another machine, which trained it." in capsys.readouterr().err
    lineage = json.loads(Path("build/train/lineage.json").read_text())
    assert (lineage["device"], lineage["gpu"]) == ("gpu", "NVIDIA H100")
    assert "onnxruntime" not in lineage["versions"]
    assert json.loads(Path("reports/train.json").read_text())["epochs"] == len(outcome["history"])
    other = np.load("build/train/augmented.npy")
    assert other.shape[0] == 7

    run_stage("train", [*TRAIN, "train.epochs=2"])
    assert "taken over" not in capsys.readouterr().err
    assert json.loads(Path("build/train/lineage.json").read_text())["device"] == "cpu"
