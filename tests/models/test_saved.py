"""A saved network is the same network, and a damaged one is refused with a sentence."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from mien.errors import UserError
from mien.models.inference import predict_logits
from mien.models.saved import SPEC, WEIGHTS, ModelSpec, load_model, save_model
from mien.models.settings import ModelConfig

MODEL_SPEC = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=4)), size=32, colour="grey", margin=0.1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    model = MODEL_SPEC.build()
    model.normalise.measure(np.full((1, 32, 32, 1), 9, dtype=np.uint8))
    save_model(model, MODEL_SPEC, tmp_path)
    return tmp_path


def test_a_saved_network_answers_as_before(tmp_path: Path) -> None:
    model = MODEL_SPEC.build()
    save_model(model, MODEL_SPEC, tmp_path)
    faces = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 1), dtype=np.uint8)
    loaded, spec = load_model(tmp_path)
    assert spec == MODEL_SPEC
    np.testing.assert_array_equal(predict_logits(model, faces), predict_logits(loaded, faces))


def test_normalisation_travels_with_the_weights(saved: Path) -> None:
    assert float(load_model(saved)[0].normalise.mean) == 9


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    model = MODEL_SPEC.build()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    save_model(model, MODEL_SPEC, tmp_path / "a")
    save_model(model, MODEL_SPEC, tmp_path / "b")
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_a_missing_model_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dvc repro train"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "damage"),
    [(WEIGHTS, b"x" * 100), (SPEC, b'{"size"'), (SPEC, b'{"classes": [], "size": 3}')],
)
def test_a_damaged_file_is_named(saved: Path, file: str, damage: bytes) -> None:
    (saved / file).write_bytes(damage)
    with pytest.raises(UserError, match="cannot be read"):
        load_model(saved)


def test_classes_in_another_order_are_refused(saved: Path) -> None:
    spec = (saved / SPEC).read_text()
    (saved / SPEC).write_text(spec.replace("angry", "x").replace("disgust", "angry").replace('"x"', '"disgust"'))
    with pytest.raises(UserError, match="expects"):
        load_model(saved)
