"""Trainings that several processes share."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import pytorch_lightning as pl

from mien.base.errors import UserError
from mien.base.listener import Listener
from mien.models.description import ModelSpec
from mien.runtime.spec import CutSpec
from mien.training.dataset import LabelledFaces, validation_loader
from mien.training.fit import Fitted, fit
from mien.training.rank import JOB, fit_on_ranks
from mien.training.recipe import Recipe
from mien.training.task import ExpressionTask
from tests.training.tasks import RECIPE, TRAIN, VAL

# cnn48 has no batch normalisation, whose statistics are of the faces that a process sees.
ALONE = RECIPE.with_values(
    {
        "model.name": "cnn48",
        "model.dropout": 0.0,
        "optim.name": "sgd",
        "train.epochs": 1,
        "augment.batched": True,
        "trainer.threads": 1,
    }
)
SHARED = ALONE.with_values({"trainer.devices": 2})
SPEC = ModelSpec(dataclasses.asdict(ALONE.model), CutSpec(48, "grey"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledFaces, LabelledFaces]:
    file = tmp_path_factory.mktemp("faces") / "faces.npy"
    np.save(file, np.stack([cv2.resize(face, (48, 48))[..., None] for face in (*TRAIN.pixels, *VAL.pixels)]))
    pixels = np.load(file, mmap_mode="r")
    soft = np.eye(7, dtype=np.float32)[TRAIN.labels]
    train = LabelledFaces(pixels, np.arange(len(TRAIN)), TRAIN.labels, soft)
    shares = np.arange(len(VAL) - 1)  # of two processes, of unequal size
    return train, LabelledFaces(pixels, len(TRAIN) + shares, VAL.labels[shares])


def difference(one: Fitted, other: Fitted) -> float:
    states = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in states)


@pytest.fixture(scope="module")
def two(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fitted, Path]:
    """What two processes learnt, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    return fit_on_ranks(SPEC, SHARED, *parts, folder), folder


def test_two_processes_learn_what_one_learns(parts: Any, two: tuple[Fitted, Path], tmp_path: Path) -> None:
    fitted, folder = two
    one = fit(SPEC, ALONE, *parts, tmp_path, verbose=False)
    assert difference(one, fitted) < 1e-4
    assert fitted.history[0] == pytest.approx(one.history[0], abs=1e-5)
    assert sorted(file.name for file in folder.iterdir()) == ["fitted.pt", JOB, "last.ckpt", "train.npz", "val.npz"]
    same_weights = ExpressionTask(fitted.model, ALONE, class_weights=None, rank=0, teachers=[])
    alone = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=tmp_path)
    (scores,) = alone.validate(same_weights, validation_loader(parts[1]), verbose=False)
    assert {name: fitted.history[0][name] for name in ("val_loss", *scores)} == pytest.approx(scores, abs=1e-6, rel=0)


def ranks() -> list[psutil.Process]:
    """The ranks among our children; there may be others, of other tests."""
    return [child for child in psutil.Process().children() if "mien.training.rank" in child.cmdline()]


class Killer(Listener):
    """Kills the second process after the first epoch, once."""

    def __init__(self) -> None:
        self.heard: list[float] = []

    def epoch(self, row: Mapping[str, float]) -> None:
        self.heard.append(row["epoch"])
        if self.heard == [0]:
            (second,) = (rank for rank in ranks() if rank.environ()["LOCAL_RANK"] == "1")
            second.kill()


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_training_which_continues(parts: Any, tmp_path: Path) -> None:
    longer, killer = SHARED.with_values({"train.epochs": 12}), Killer()  # not over before the kill arrives
    with pytest.raises(UserError, match=r"train: rank 1 was killed \(SIGKILL\); the same command continues"):
        fit_on_ranks(SPEC, longer, *parts, tmp_path, listener=killer)
    assert not ranks()
    killed = len(killer.heard)
    fitted = fit_on_ranks(SPEC, longer, *parts, tmp_path, listener=killer)
    assert [row["epoch"] for row in fitted.history] == list(range(12))
    assert killer.heard[killed:][0] >= 1 or killed == 1


def test_a_batch_that_cannot_be_shared_is_refused(parts: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train.batch_size: 15 must be a multiple of 2, trainer"):
        fit_on_ranks(SPEC, SHARED.with_values({"train.batch_size": 15}), *parts, tmp_path)


@pytest.mark.slow
def test_two_machines_share_a_training(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe: Recipe = ALONE.with_values({"trainer.nodes": 2})
    with pytest.raises(UserError, match=r"trainer.nodes is 2: set MASTER_ADDR and MASTER_PORT"):
        fit_on_ranks(SPEC, recipe, *parts, tmp_path)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29411")
    command = [sys.executable, "-m", "mien.training.rank", str(tmp_path / JOB)]
    second = subprocess.Popen(command, env={**os.environ, "NODE_RANK": "1"})
    two = fit_on_ranks(SPEC, recipe, *parts, tmp_path)
    assert second.wait(timeout=60) == 0
    one = fit(SPEC, ALONE, *parts, tmp_path / "one", verbose=False)
    assert difference(one, two) < 1e-4


@pytest.mark.slow
def test_torchrun_starts_the_ranks_too_and_none_outlives_a_killed_train(
    two: tuple[Fitted, Path], tmp_path: Path
) -> None:
    shutil.copytree(two[1], tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("fitted.pt", "last.ckpt"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29412"]
    subprocess.run([*torchrun, "-m", "mien.training.rank", str(tmp_path / JOB)], check=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "fitted.pt").read_bytes() == (two[1] / "fitted.pt").read_bytes()
    (tmp_path / "last.ckpt").unlink()
    job = json.loads((tmp_path / JOB).read_text())
    job["recipe"]["train"]["epochs"] = 1000
    (tmp_path / JOB).write_text(json.dumps(job))
    parent = subprocess.Popen([sys.executable, "-m", "mien.training.rank", str(tmp_path / JOB)])
    while not (tmp_path / "last.ckpt").exists():
        time.sleep(0.1)
    started = psutil.Process(parent.pid).children()
    assert len(started) == 2
    parent.kill()
    psutil.wait_procs(started, timeout=10)
    assert not any(rank.is_running() for rank in started)
