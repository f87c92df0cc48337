"""Trainings on another machine, which may have PyTorch and little else, or ended by time: what they say of it."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.memory import generate
from mien.models.description import made_on_words, read_lineage
from mien.registry.version import write_card
from mien.training.hardware import hardware_mismatch, instruction_set
from mien.training.inputs import ADOPTED
from pipelines import train
from pipelines.__main__ import run_stage
from pipelines.compose import compose
from tests.pipelines.workspace import ROOT
from tests.registry.workspace import candidate_of
from tests.training.tasks import Epochs
from tools import device_train

CHOICES = {"data": "sample", "model": "lenet48", "augment": "batched", "optim": "adamw", "train": "lenet48"}
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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the outs of crop and split."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    generate(tmp_path, 300)
    return tmp_path


def lineage_and_pages() -> tuple[dict[str, Any], list[str]]:
    """The lineage of what was trained, and its report and card."""
    Path("build/crop/quarantine.csv").write_text("reason,label\n")
    run_stage("evaluate", ["data=sample", "evaluate=standard", "evaluate.bootstrap=100"])
    run_stage("report", ["data=sample"])
    card = write_card(candidate_of(Path()))
    return read_lineage(Path("build/train")), [Path("reports/report.html").read_text(), card]


KILLED = """import sys
from tests.pipelines.test_device_train import Epochs, compose, train
train.run(compose("train", sys.argv[1:]), Epochs(die_at=1))
"""


@pytest.mark.slow
@pytest.mark.skipif("avx512" not in instruction_set() and "amx" not in instruction_set(), reason="needs AVX-512")
def test_a_training_that_another_kind_of_processor_began_continues_as_a_run_of_its_own(folder: Path) -> None:
    short, heard = [*TRAIN, "train.epochs=3"], Epochs()
    run_stage("tune", [*TRAIN, "tune=none"])
    older = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    assert subprocess.run([sys.executable, "-c", KILLED, *short], env={**os.environ, **older}).returncode == 9
    train.run(compose("train", short), heard)
    assert heard.epochs == [1, 2]
    lineage, pages = lineage_and_pages()
    (before,) = json.loads(Path("reports/train.json").read_text())["continued_from"]
    assert (before["instructions"].split()[-1], before["precision"]) == ("avx2", "32")
    words = f"{made_on_words(before)}, continued on the CPU ({instruction_set()}, 1 thread), "
    assert all(words in page for page in pages) and "continued on another kind of machine" in pages[1]
    assert hardware_mismatch(lineage).startswith(f"It was trained with {words}")
    train.run(compose("train", short), Epochs())
    undisturbed = read_lineage(Path("build/train"))
    assert "continued_from" not in undisturbed and undisturbed["digest"] != lineage["digest"]


@pytest.mark.slow
def test_what_time_ended_stops_all_ranks_and_is_marked_wherever_it_is_told(folder: Path) -> None:
    chosen = [*TRAIN[:-1], "trainer=ddp", "train.epochs=9", "+train.minutes=0.001"]
    short = ["tune.epochs=2", "tune.prune_after=1", "tune.confirm={best: 0, seeds: 0}", "+tune.minutes=0.001"]
    run_stage("tune", [*chosen, "tune=quick", *short])
    run_stage("train", chosen)  # a rank that went on alone would end with an error
    marks = ["stopped by tune.minutes after trial 1 of 7", "stopped by train.minutes after epoch 1 of 9"]
    assert [json.loads(Path(f"reports/{name}.json").read_text())["stopped"] for name in ("tune", "train")] == marks
    lineage, pages = lineage_and_pages()
    assert ([lineage["search"]["stopped"], lineage["stopped"]], lineage["devices"]) == (marks, 2)
    assert all("; ".join(marks) in page for page in pages)


@pytest.mark.slow
def test_what_another_machine_trained_is_taken_over_and_nothing_else(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
