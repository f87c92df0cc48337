"""Bars whose labels are right, but for some that were turned on purpose."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mien.crop.packed import open_faces
from mien.models.description import ModelConfig
from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig, TrainerConfig
from tests.registry.workspace import copied

TURNED = 12
RECIPE = Recipe(
    ModelConfig("resnet", width=4, dropout=0.0),
    AugmentConfig(strength=0.0, flip=0.0),
    OptimConfig(lr=0.02, schedule="constant", warmup_epochs=0),
    TrainConfig(epochs=14, batch_size=16),
    TrainerConfig(precision="32", accelerator="cpu"),
)


@pytest.fixture(scope="session")
def cropped(weak: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after split, the label of each face where its bar is."""
    root = copied(weak, tmp_path_factory.mktemp("labels"))
    pixels = open_faces(root / "build/crop").pixels
    for part in ("train", "val"):
        file = root / f"build/split/{part}.parquet"
        table = pd.read_parquet(file)
        rows = pixels[table["row"].to_numpy()].mean(axis=(2, 3))[:, :21].reshape(len(table), 7, 3)
        table["label"] = rows.mean(axis=2).argmax(axis=1).astype(np.int8)
        table.to_parquet(file)
    return root


def turn_labels(root: Path) -> set[str]:
    """Give some training faces the next class's label; their ids."""
    file = root / "build/split/train.parquet"
    table = pd.read_parquet(file)
    chosen = np.random.default_rng(5).choice(len(table), TURNED, replace=False)
    table.loc[chosen, "label"] = ((table.loc[chosen, "label"] + 2) % 7).astype(np.int8)
    table.to_parquet(file)
    return set(table.loc[chosen, "face_id"])
