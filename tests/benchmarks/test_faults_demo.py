"""The faults' demonstration shows the faults: the same faces and sizes, and a fair word on what leaked."""

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.faults_demo import Measured, pooled, preset_recipe, row_parts


def faces(n: int = 60) -> pd.DataFrame:
    """Faces of which every two share a group, and every three a photo's bytes."""
    return pd.DataFrame({"row": range(n), "label": 0, "group": np.arange(n) // 2, "photo_digest": np.arange(n) // 3})


def test_a_row_split_has_the_sizes_asked_for_and_knows_its_leaks() -> None:
    parts = row_parts(faces(), [40, 10, 10], seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"train": 40, "val": 10, "test": 10}
    assert sorted(pd.concat(parts.values())["row"]) == list(range(60))
    held = set(parts["train"]["group"])
    test = parts["test"]
    assert test["leaked"].tolist() == [group in held for group in test["group"]]
    assert 0 < test["leaked"].sum() < len(test)


def test_repeats_are_pooled_face_by_face() -> None:
    right, wrong = (np.eye(7)[[label] * 4] for label in (0, 1))
    both = pooled([Measured(faces(4), right), Measured(faces(4), wrong)])
    assert both.accuracy().value == 0.5
    assert both.of(np.arange(8) < 4).accuracy().value == 1.0


def test_the_recipe_is_the_presets() -> None:
    preset = Path("conf/preset/expw-cnn48.yaml")
    assert preset.exists()
    recipe = preset_recipe("expw-cnn48", 3)
    assert (recipe.model.name, recipe.train.batch_size, recipe.train.epochs) == ("cnn48", 64, 3)
