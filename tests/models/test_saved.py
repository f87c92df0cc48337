"""A saved network is the same network, and a damaged one is refused with a sentence."""

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.base.errors import UserError
from mien.models.description import SPEC, WEIGHTS, ModelConfig, ModelSpec
from mien.models.weights import load_model, predict_logits, save_model
from mien.runtime.spec import CutSpec

MODEL_SPEC = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=4)), CutSpec(32, "grey", margin=0.1))
CUT = dataclasses.asdict(MODEL_SPEC.cut)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = MODEL_SPEC.build()
    model.normalise.measure(np.full((1, 32, 32, 1), 9, dtype=np.uint8), np.arange(1))
    save_model(model, MODEL_SPEC, tmp_path)
    return tmp_path


def test_a_saved_network_answers_as_before_and_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    model = MODEL_SPEC.build()
    save_model(model, MODEL_SPEC, tmp_path)
    before = (tmp_path / WEIGHTS).read_bytes()
    save_model(model, MODEL_SPEC, tmp_path)
    assert (tmp_path / WEIGHTS).read_bytes() == before
    faces = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 1), dtype=np.uint8)
    loaded, spec = load_model(tmp_path)
    assert spec == MODEL_SPEC
    np.testing.assert_array_equal(predict_logits(model, faces), predict_logits(loaded, faces))


def test_normalisation_travels_with_the_weights(saved: Path) -> None:
    assert float(load_model(saved)[0].normalise.mean) == 9


def test_a_full_disk_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as error:
        save_model(MODEL_SPEC.build(), MODEL_SPEC, tmp_path)
    assert error.value.errno == errno.ENOSPC


def test_a_missing_model_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro train"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        (WEIGHTS, b"x" * 100, "cannot be read"),
        (SPEC, b'{"size"', "model.json is damaged"),
        (SPEC, b'{"classes": [], "size": 3}', "model.json lacks architecture"),
    ],
)
def test_a_damaged_file_is_named(saved: Path, file: str, damage: bytes, says: str) -> None:
    (saved / file).write_bytes(damage)
    with pytest.raises(UserError, match=rf"{says}.*; `dvc repro train` writes it again\.$"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": {"name": "vit", "dropout": 0.1}}, "name must be 'resnet', .* not 'vit'"),
        ({"architecture": {"name": "resnet", "depth": 3}}, "there is no key 'depth'"),
        ({"architecture": {"name": "resnet", "width": 8, "dropout": 0.1}}, "Error.* loading state_dict"),
        ({"architecture": {"name": "cnn48"}}, "takes faces of 48 pixels"),
        ({"hue": 1}, "model.json has hue, which this version of mien does not know"),
        ({"cut": {**CUT, "size": "32"}}, r"model.json: cut\.size is '32'"),
        ({"cut": {**CUT, "square": 1}}, r"model.json: cut\.square is 1"),
        ({"cut": {"size": 32}}, "model.json: cut must have size, colour, margin, square"),
        ({"classes": ["happy", "sad"]}, "Error.* loading state_dict"),
        ({"cut": None}, "model.json lacks cut, as another version of mien"),  # never guessed
        ({"classes": None}, "model.json lacks classes, as another version of mien"),
    ],
)
def test_a_model_of_another_version_is_told_in_one_sentence(saved: Path, change: dict[str, Any], says: str) -> None:
    fields = {**json.loads((saved / SPEC).read_text()), **change}
    (saved / SPEC).write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))
    with pytest.raises(UserError, match=says) as told:
        load_model(saved)
    assert "\n" not in str(told.value)
    assert str(told.value).endswith("`dvc repro train` writes it again.")
