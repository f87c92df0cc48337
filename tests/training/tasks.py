"""A task that a tiny network learns within seconds: the class is where a bright bar lies."""

import dataclasses
import multiprocessing
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mien.base.listener import Listener
from mien.models.description import ModelConfig, ModelSpec
from mien.runtime.spec import CutSpec
from mien.training.dataset import LabelledFaces
from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig, TrainerConfig


def bars(n: int, seed: int) -> LabelledFaces:
    """`n` grey 24 x 24 faces with a bar at the height that their class says."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 7, n)
    pixels = random.integers(0, 60, (n, 24, 24, 1), dtype=np.uint8)
    for face, label in zip(pixels, labels, strict=True):
        face[label * 3 : label * 3 + 3] += 150
    return LabelledFaces(pixels, np.arange(n), labels)


TRAIN, VAL = bars(160, 0), bars(80, 1)
# A small residual net, gently augmented, six epochs.
RECIPE = Recipe(
    ModelConfig("resnet", width=4, dropout=0.1),
    AugmentConfig(rotate=2.0, shift=0.02, zoom=0.0, flip=0.5),
    OptimConfig(lr=0.01),
    TrainConfig(epochs=6, batch_size=16, patience=0),
    TrainerConfig(precision="32"),
)
SPEC = ModelSpec(dataclasses.asdict(RECIPE.model), CutSpec(24, "grey"))


# Their server imports PyTorch and Lightning once, for all the processes that tests kill.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["mien.training.fit", "mien.search.tuning"])


def killed(work: Callable[..., object], *arguments: Any) -> None:
    """Do in a process of its own what ends that process by `os._exit(9)`."""
    process = PROCESSES.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 9


class Epochs(Listener):
    """Hears of epochs, and ends the process at one of them."""

    def __init__(self, die_at: int | None = None) -> None:
        self.epochs: list[float] = []
        self._die_at = die_at

    def epoch(self, row: Mapping[str, float]) -> None:
        if row["epoch"] == self._die_at:
            os._exit(9)
        assert row["images_per_second"] > 0  # of the moment: no part of the history
        self.epochs.append(row["epoch"])
