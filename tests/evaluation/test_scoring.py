import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import PackedFaces
from mien.evaluation.measures import measure
from mien.evaluation.scoring import EvaluateConfig, evaluate_model
from mien.models.description import ModelSpec
from mien.models.graph import export_graph
from mien.runtime.session import Model, open_graph, softmax
from mien.runtime.spec import CutSpec
from tests.evaluation.drawing import drawn, evaluate_logits, index_of

CONFIG = EvaluateConfig(bootstrap=200)


def test_the_temperature_comes_from_validation_and_the_measures_from_the_test_set():
    val_labels, val_logits = drawn(400, 1)
    labels, logits = drawn(300, 2)
    found = evaluate_logits(4 * val_logits, val_labels, 4 * logits, index_of(labels), CONFIG)
    assert found.temperature.value > 2
    assert found.temperature.faces == 400
    calibrated = softmax(4 * logits, found.temperature.value)
    assert found.predictions.probabilities == pytest.approx(calibrated, abs=1e-5)
    expected = measure(labels, calibrated, CONFIG.bins)
    for name, one in found.whole.intervals.overall.items():
        assert one.value == pytest.approx(expected[name]), name
    assert found.before["ece"] == pytest.approx(measure(labels, softmax(4 * logits))["ece"])
    assert found.whole.intervals.overall["ece"].value < found.before["ece"]
    assert (found.whole.faces, found.whole.photos) == (300, 150)
    assert found.whole.majority == EXPRESSIONS[np.bincount(labels).argmax()]
    assert found.whole.majority_share == np.bincount(labels).max() / 300


def test_calibration_changes_no_prediction():
    val_labels, val_logits = drawn(200, 1)
    labels, logits = drawn(200, 2)
    found = evaluate_logits(9 * val_logits, val_labels, 9 * logits, index_of(labels), CONFIG)
    assert (found.predictions.predicted == logits.argmax(axis=1)).all()


def test_the_leak_free_part_leaves_out_leaked_faces_alone():
    labels, logits = drawn(200, 2)
    index = index_of(labels)
    index["leaked"] = logits.argmax(axis=1) == labels  # what leaked is right, the rest is wrong
    found = evaluate_logits(logits, labels, logits, index, CONFIG)
    assert found.leak_free is not None
    assert found.leak_free.faces == (~index["leaked"]).sum()
    assert found.leak_free.intervals.overall["accuracy"].value == 0
    assert found.whole.intervals.overall["accuracy"].value > 0.3


def test_nothing_leaked_no_leak_free_part_and_all_leaked_an_empty_one():
    labels, logits = drawn(50, 2)
    index = index_of(labels)
    assert evaluate_logits(logits, labels, logits, index, CONFIG).leak_free is None
    empty = evaluate_logits(logits, labels, logits, index.assign(leaked=True), CONFIG).leak_free
    assert empty is not None
    assert empty.faces == 0
    assert np.isnan(empty.intervals.overall["accuracy"].value)


@pytest.mark.parametrize(
    ("labels", "logits", "per_photo"),
    [
        (np.arange(7), 9 * np.eye(7), 2),  # perfect, one face a class
        (np.zeros(5, int), np.eye(7)[[1, 1, 1, 1, 1]], 1),  # never right, six classes absent
        (np.arange(7), np.zeros((7, 7)), 1),  # constant
        (np.arange(7), 9 * np.eye(7), 7),  # one photo
        (np.array([3]), 800.0 * np.eye(7)[[3]], 1),  # one face, probability 1
    ],
)
def test_extremes_are_measured_without_a_warning(labels, logits, per_photo):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate_logits(logits, labels, logits, index_of(labels, per_photo=per_photo), CONFIG)
    assert np.isfinite([one.value for one in found.whole.intervals.overall.values()]).all()


def packed(n: int) -> PackedFaces:
    pixels = np.random.default_rng(0).integers(0, 256, (n, 48, 48, 1), dtype=np.uint8)
    return PackedFaces(pixels, pd.DataFrame(), CutSpec(48, "grey"), EXPRESSIONS, "d")


def test_the_graph_is_run_on_the_rows_that_the_indexes_name(tmp_path: Path):
    spec = ModelSpec({"name": "cnn48"}, CutSpec(48, "grey"))
    faces = packed(30)
    index = index_of(np.arange(30) % 7)
    val, test = index.iloc[:10], index.iloc[[29, 12, 17]]
    torch.manual_seed(0)
    export_graph(spec.build(), spec, tmp_path / "model.onnx", faces.pixels[:2])
    model = Model(open_graph(tmp_path / "model.onnx", spec.serving(None)), spec.serving(None))
    found = evaluate_model(model, faces, val, test, CONFIG)
    alone = evaluate_model(model, replace(faces, pixels=faces.pixels.copy()), val, test.iloc[[1]], CONFIG)
    assert found.predictions.table["face_id"].tolist() == ["f29", "f12", "f17"]
    assert found.predictions.probabilities[1] == pytest.approx(alone.predictions.probabilities[0], abs=1e-5)
    assert np.ptp(found.predictions.probabilities, axis=0).max() > 0


def test_an_empty_part_is_named():
    unused: Any = None
    index = index_of(np.arange(3))
    with pytest.raises(UserError, match="the test set is empty"):
        evaluate_model(unused, packed(3), index, index.iloc[:0], CONFIG)
