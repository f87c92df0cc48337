import json
from pathlib import Path

import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.evaluation import tables
from mien.evaluation.measures import MEASURES
from mien.evaluation.scoring import EvaluateConfig
from tests.evaluation.drawing import LINEAGE, drawn, evaluate_logits, index_of

CONFIG = EvaluateConfig(bootstrap=200)


def test_metrics_hold_every_number_with_its_interval_and_what_it_was_measured_on(evaluation):
    found = json.loads(json.dumps(tables.metrics(evaluation, LINEAGE), allow_nan=False))
    assert found["data_digest"] == LINEAGE["data_digest"]
    for name in MEASURES:
        assert found[name]["low"] <= found[name]["value"] <= found[name]["high"]
    assert set(found["per_class"]) == set(EXPRESSIONS)
    assert sum(one["support"] for one in found["per_class"].values()) == found["n"] == 120
    assert set(found["uncalibrated"]) == {"nll", "brier", "ece"}
    assert found["leak_free"]["n"] == 110
    assert set(found["leak_free"]) >= {*MEASURES, "n", "photos", "majority_share", "per_class"}


def test_what_does_not_exist_is_null_and_the_json_valid():
    logits = np.eye(7)[[0, 0, 1]]
    one_photo = evaluate_logits(logits, [0, 1, 1], logits, index_of(np.array([0, 1, 1]), per_photo=3), CONFIG)
    found = json.loads(json.dumps(tables.metrics(one_photo, LINEAGE), allow_nan=False))
    assert found["accuracy"] == {"value": pytest.approx(2 / 3, abs=1e-6), "low": None, "high": None}
    assert found["per_class"]["fear"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert found["leak_free"] is None


def test_predictions_have_a_row_a_face(evaluation):
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


def test_confusion_has_the_columns_of_dvcs_template(evaluation):
    table = tables.confusion(evaluation)
    assert list(table.columns) == ["actual", "predicted"]
    assert len(table) == 120


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
