"""A model of eight classes on a data set of seven, from the raw folder to the report."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.crop.selection import CropConfig
from mien.evaluation.other_data import SharedClasses, cut_faces, evaluate_elsewhere
from mien.evaluation.scoring import EvaluateConfig
from mien.inference.address import open_measured
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.weights import save_model
from mien.reporting.study_reports import write_cross_evaluation
from mien.runtime.session import softmax
from mien.runtime.spec import CutSpec
from mien.sources.source import DataConfig
from tests.evaluation.other_data import write_folders


@pytest.fixture
def contemptuous(tmp_path: Path) -> Path:
    """A network of eight classes that answers contempt to everything, and fear next."""
    folder = tmp_path / "model/train"
    folder.mkdir(parents=True)
    spec = ModelSpec(
        dataclasses.asdict(ModelConfig("resnet", width=4)), CutSpec(32, "rgb", margin=0.2, square=True), WITH_CONTEMPT
    )
    network = spec.build()
    state = network.state_dict()
    last = [name for name in state if name.endswith("bias")][-1]
    assert len(state[last]) == 8
    state[last] = torch.tensor([0.0, 0, 50, 0, 0, 0, 0, 99])
    network.load_state_dict(state)
    save_model(network, spec, folder)
    export_graph(network, spec, folder / "model.onnx", np.zeros((1, 32, 32, 3), np.uint8))
    lineage = {
        "data": "eight",
        "title": "eight classes",
        "drawn": True,
        "model": "resnet4",
        "choices": {"data": "eight"},
        "config": {},
        "search": {"trials": 0, "overruled": {}},
        "digest": "t",
        "run": "eight · resnet4",
        "data_digest": "d",
        "split_digest": "s",
        "precision": "32",
        "parameters": 1,
    }
    (folder / "lineage.json").write_text(json.dumps(lineage))
    return folder


def test_eight_classes_on_seven(contemptuous: Path, tmp_path: Path) -> None:
    (tmp_path / "conf/data").mkdir(parents=True)
    write_folders(tmp_path, "other")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = DataConfig("other", "folder", "data/other", "bars")
    model = open_measured(str(contemptuous)).known
    faces = cut_faces(data, model.spec, None, CropConfig(size=100, max_rows=2, workers=1), tmp_path, scratch)
    assert faces.packed.cut == CutSpec(32, "rgb", margin=0.2, square=True)
    cross = evaluate_elsewhere(model, data, faces, EvaluateConfig(bootstrap=100))
    assert cross.evaluation.predictions.probabilities.shape == (21, 7)  # all rows, whatever the crop's sample is
    assert set(cross.evaluation.predictions.predicted) == {2}
    assert cross.dropped == {"classes": ["contempt"], "first_answers": 21, "accuracy_if_wrong": 0.0}
    assert cross.learnt_from is None
    write_cross_evaluation(cross, tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "The data set cannot name contempt, so it was taken out" in page
    assert "first answer on 21 faces; with these counted as wrong the accuracy is 0.000" in page
    assert "The model has no temperature" in page
    assert json.loads((tmp_path / "out/metrics.json").read_text())["accuracy"]["value"] == pytest.approx(
        1 / 7, abs=1e-6
    )


def test_a_class_that_the_data_cannot_name_leaves_the_choice_and_the_rest_adds_up_to_one() -> None:
    shared = SharedClasses(model=WITH_CONTEMPT, data=EXPRESSIONS)
    logits = np.random.default_rng(0).normal(size=(5, 8))
    whole = softmax(logits, 2.0)
    assert softmax(shared.logits(logits), 2.0) == pytest.approx(whole[:, :7] / whole[:, :7].sum(axis=1, keepdims=True))


def test_what_the_dropped_class_had_won_is_counted() -> None:
    shared = SharedClasses(model=WITH_CONTEMPT, data=EXPRESSIONS)
    logits = np.zeros((3, 8))
    logits[0, 7], logits[0, 2] = 3, 2  # contempt, then fear, which is right
    logits[1, 4] = 1
    logits[2, 5] = 1
    labels = np.array([2, 4, 0])
    assert shared.dropped(logits, labels) == {
        "classes": ["contempt"],
        "first_answers": 1,
        "accuracy_if_wrong": pytest.approx(1 / 3, abs=1e-6),
    }
    assert (shared.logits(logits).argmax(axis=1) == labels).sum() == 2


def test_equal_classes_change_nothing() -> None:
    shared = SharedClasses(EXPRESSIONS, EXPRESSIONS)
    logits = np.random.default_rng(0).normal(size=(5, 7))
    assert (shared.logits(logits) == logits).all() and shared.dropped(logits, np.zeros(5)) is None


def test_a_class_that_the_model_cannot_name_is_found() -> None:
    faces = pd.DataFrame({"label": [0, 7, 6, 7]})
    unknown = SharedClasses(EXPRESSIONS, WITH_CONTEMPT).unknown(faces)
    assert unknown.tolist() == [False, True, False, True]
