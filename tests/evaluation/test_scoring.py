import json
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
from mien.evaluation import tables
from mien.evaluation.intervals import OVERALL, bootstrap
from mien.evaluation.measures import fit_temperature, measure
from mien.evaluation.scoring import EvaluateConfig, evaluate_model
from mien.models.description import ModelSpec
from mien.models.graph import export_graph
from mien.runtime.session import Model, open_graph, softmax
from mien.runtime.spec import CutSpec
from tests.evaluation.drawing import LINEAGE, drawn, evaluate_logits, index_of

CONFIG = EvaluateConfig(bootstrap=200)


def test_the_measures_are_those_of_the_test_set_at_the_temperature():
    val_labels, val_logits = drawn(400, 1)
    labels, logits = drawn(300, 2)
    found = evaluate_logits(4 * val_logits, val_labels, 4 * logits, index_of(labels), CONFIG)
    assert found.temperature.value > 2
    assert found.temperature.faces == 400
    assert (found.predictions.predicted == logits.argmax(axis=1)).all()  # calibration changes none
    calibrated = softmax(4 * logits, found.temperature.value)
    assert found.predictions.probabilities == pytest.approx(calibrated, abs=1e-5)
    expected = measure(labels, calibrated, CONFIG.bins)
    for name, value in expected.items():
        assert found.whole.intervals.overall[name].value == pytest.approx(value), name
    assert found.before["ece"] == pytest.approx(measure(labels, softmax(4 * logits))["ece"])
    assert found.whole.intervals.overall["ece"].value < found.before["ece"]
    assert (found.whole.faces, found.whole.photos) == (300, 150)
    assert found.whole.majority == EXPRESSIONS[np.bincount(labels).argmax()]
    assert found.whole.majority_share == np.bincount(labels).max() / 300


def test_intervals_resample_the_groups_of_the_split_and_photos_are_counted():
    labels, logits = drawn(300, 2)
    index = index_of(labels, per_photo=1)
    together = index.assign(group=np.arange(300) // 10)
    wide, narrow = (evaluate_logits(logits, labels, logits, one, CONFIG) for one in (together, index))
    calibrated = softmax(logits, wide.temperature.value)
    direct = bootstrap(labels, calibrated, np.arange(300) // 10, classes=EXPRESSIONS, n=CONFIG.bootstrap)
    assert wide.whole.intervals == direct
    assert wide.whole.intervals != narrow.whole.intervals
    assert (wide.whole.photos, narrow.whole.photos) == (300, 300)
    ours, theirs = (next(s for s in one.slices.slices if s.group == "face size") for one in (wide, narrow))
    assert (ours.photos, ours.accuracy.value) == (theirs.photos, theirs.accuracy.value)
    assert ours.accuracy != theirs.accuracy


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
    on_validation = fit_temperature(model.logits(faces.pixels[:10]), val["label"])
    assert (found.temperature.faces, found.temperature.nll_before) == (10, pytest.approx(on_validation.nll_before))


def test_an_empty_part_is_named():
    unused: Any = None
    index = index_of(np.arange(3))
    with pytest.raises(UserError, match="the test set is empty"):
        evaluate_model(unused, packed(3), index, index.iloc[:0], CONFIG)


def test_metrics_hold_every_number_with_its_interval_and_what_it_was_measured_on(evaluation):
    found = json.loads(json.dumps(tables.metrics(evaluation, LINEAGE), allow_nan=False))
    assert found["data_digest"] == LINEAGE["data_digest"]
    for name in {*OVERALL} - {"ece", "ece_if_calibrated"}:
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert found["ece"]["low"] is None  # it is biased, so no interval holds the truth
    assert set(found["per_class"]) == set(EXPRESSIONS)
    assert sum(one["support"] for one in found["per_class"].values()) == found["n"] == 120
    assert set(found["uncalibrated"]) == {"nll", "brier", "ece"}
    assert found["leak_free"]["n"] == 110
    assert set(found["leak_free"]) >= {*OVERALL, "n", "photos", "majority_share", "per_class"}


def test_what_does_not_exist_is_null_and_the_json_valid():
    logits = np.eye(7)[[0, 0, 1]]
    one_photo = evaluate_logits(logits, [0, 1, 1], logits, index_of(np.array([0, 1, 1]), per_photo=3), CONFIG)
    found = json.loads(json.dumps(tables.metrics(one_photo, LINEAGE), allow_nan=False))
    assert found["accuracy"] == {"value": pytest.approx(2 / 3, abs=1e-6), "low": None, "high": None}
    assert found["per_class"]["fear"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert found["leak_free"] is None


def test_predictions_and_the_confusion_of_dvcs_template_have_a_row_a_face(evaluation):
    confusion = tables.confusion(evaluation)
    assert list(confusion.columns) == ["actual", "predicted"] and len(confusion) == 120
    table = evaluation.predictions.table
    assert list(table.columns) == [
        *("face_id", "image", "label", "predicted", "correct", "leaked", "group", "face_size", "confidence"),
        *(f"p_{name}" for name in EXPRESSIONS),
    ]
    probabilities = table[[f"p_{name}" for name in EXPRESSIONS]].to_numpy()
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert table["predicted"].tolist() == [EXPRESSIONS[k] for k in probabilities.argmax(axis=1)]
    assert (table["correct"] == (table["label"] == table["predicted"])).all()
    assert table["label"].tolist() == [EXPRESSIONS[k] for k in drawn(120, 2)[0]]


def test_temperature_is_kept_in_full():
    labels, logits = drawn(200)
    one = evaluate_logits(3 * logits, labels, logits, index_of(labels), CONFIG)
    assert tables.temperature(one)["temperature"] == one.temperature.value
    assert tables.temperature(one)["fitted_on"] == 200


def test_an_evaluation_is_read_back_as_it_was_written(evaluation, tmp_path: Path):
    """The report is drawn from the files: they must hold all of it, rounded to six digits."""
    evaluation.predictions.table.to_csv(tmp_path / "predictions.csv", index=False)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    tables.write_numbers(evaluation, tmp_path / "a")
    back = tables.read_evaluation(tmp_path / "a", tmp_path / "predictions.csv")
    tables.write_numbers(back, tmp_path / "b")
    assert (tmp_path / "a/evaluation.json").read_text() == (tmp_path / "b/evaluation.json").read_text()
    assert back.whole.support == evaluation.whole.support
    assert back.slices.skipped == evaluation.slices.skipped
    assert back.predictions.probabilities == pytest.approx(evaluation.predictions.probabilities)
    for when, bins in evaluation.reliability.items():
        assert back.reliability[when].accuracy == pytest.approx(bins.accuracy, abs=1e-6, nan_ok=True)
    for written, read in zip(evaluation.confused, back.confused, strict=True):
        assert (written.rows == read.rows).all()


def test_a_table_of_predictions_that_lacks_something_is_named(tmp_path: Path):
    file = tmp_path / "predictions.csv"
    with pytest.raises(UserError, match=r"predictions.csv is missing; `dvc repro evaluate` writes it again"):
        tables.read_predictions(file)
    file.write_text("face_id,image\n")
    with pytest.raises(UserError, match="lacks the column label"):
        tables.read_predictions(file)
