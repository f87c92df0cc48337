"""A model of eight classes on a data set of seven, from the raw folder to the report."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.base.classes import EXPRESSIONS, WITH_CONTEMPT
from mien.base.errors import UserError
from mien.crop.cropping import CropConfig
from mien.crop.packed import open_faces
from mien.evaluation.other_data import CrossEvaluation, dropped_classes, evaluate_elsewhere, metrics
from mien.evaluation.scoring import EvaluateConfig
from mien.inference.address import open_measured
from mien.models.description import ModelConfig, ModelSpec
from mien.models.graph import export_graph
from mien.models.weights import save_model
from mien.reporting.evaluation_report import write_cross_evaluation
from mien.runtime.spec import CutSpec
from mien.sources.source import DataConfig
from tests.evaluation.drawing import LINEAGE
from tests.evaluation.other_data import write_folders


@pytest.fixture(scope="module")
def contemptuous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of eight classes that answers contempt to everything, and fear next."""
    folder = tmp_path_factory.mktemp("model") / "train"
    folder.mkdir()
    cut = CutSpec(32, "rgb", margin=0.2, square=True)
    spec = ModelSpec(dataclasses.asdict(ModelConfig("resnet", width=4)), cut, WITH_CONTEMPT)
    network = spec.build()
    state = network.state_dict()
    last = [name for name in state if name.endswith("bias")][-1]
    assert len(state[last]) == 8
    state[last] = torch.tensor([0.0, 0, 50, 0, 0, 0, 0, 99])
    network.load_state_dict(state)
    save_model(network, spec, folder)
    export_graph(network, spec, folder / "model.onnx", np.zeros((1, 32, 32, 3), np.uint8))
    lineage = {**LINEAGE, "data": "eight", "title": "eight classes", "drawn": True}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    return folder


def test_eight_classes_on_seven(contemptuous: Path, tmp_path: Path) -> None:
    (tmp_path / "conf/data").mkdir(parents=True)
    write_folders(tmp_path, "other")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    data = DataConfig("other", "folder", "data/other", "bars")
    model = open_measured(str(contemptuous))
    crop = CropConfig(size=100, max_rows=2, workers=1)
    cross = evaluate_elsewhere(model, data, None, crop, EvaluateConfig(bootstrap=100), tmp_path, scratch)
    assert open_faces(scratch).cut == CutSpec(32, "rgb", margin=0.2, square=True)
    assert cross.evaluation.predictions.probabilities.shape == (21, 7)  # all rows, whatever the crop's sample is
    assert set(cross.evaluation.predictions.predicted) == {2}
    assert cross.dropped == {"classes": ["contempt"], "first_answers": 21, "accuracy_if_wrong": 0.0}
    assert cross.learnt_from is None
    write_cross_evaluation(cross, metrics(cross), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert 'href="faces.html"' in page and (tmp_path / "out/faces.html").read_text().count("</option>") > 21
    assert "The data set cannot name contempt, so it was taken out" in page
    assert "first answer on 21 faces; with these counted as wrong the accuracy is 0.000" in page
    assert "The model has no temperature" in page
    written = json.loads((tmp_path / "out/metrics.json").read_text())
    assert written["accuracy"]["value"] == pytest.approx(1 / 7, abs=1e-6)


@pytest.mark.parametrize("name", ["packaged", "packaged-compact"])
def test_the_model_in_the_package_is_measured_on_data_of_ones_own(name: str, tmp_path: Path) -> None:
    (tmp_path / "conf/data").mkdir(parents=True)
    write_folders(tmp_path, "own")
    (scratch := tmp_path / "scratch").mkdir()
    model, data = open_measured(name), DataConfig("own", "folder", "data/own")
    cross = evaluate_elsewhere(
        model, data, None, CropConfig(workers=1), EvaluateConfig(bootstrap=100), tmp_path, scratch
    )
    assert cross.evaluation.whole.faces == 21
    assert cross.learnt_from == 0 and model.seen is not None and len(model.seen) > 26_000
    assert model.lineage["parameters"] == 700_791 and model.lineage["config"]["train"]["teachers"] == ["packaged"]


def test_classes_are_shared_by_name(contemptuous: Path, tmp_path: Path) -> None:
    (tmp_path / "conf/data").mkdir(parents=True)
    write_folders(tmp_path, "own", ("sad", "engaged", "fear"))

    def measured(class_names: Any) -> CrossEvaluation:
        data = DataConfig("own", "folder", "data/own", options={"class_names": class_names})
        (tmp_path / "scratch").mkdir(exist_ok=True)
        model, config = open_measured(str(contemptuous)), EvaluateConfig(bootstrap=100)
        return evaluate_elsewhere(model, data, None, CropConfig(workers=1), config, tmp_path, tmp_path / "scratch")

    cross = measured(["sad", "engaged", "fear"])
    assert cross.evaluation.predictions.classes == ("fear", "sad")  # in the model's order
    assert cross.evaluation.predictions.table["label"].value_counts().to_dict() == {"fear": 3, "sad": 3}
    assert cross.evaluation.whole.intervals.overall["accuracy"].value == 0.5  # fear, always
    assert cross.unknown == {"engaged": 3} and cross.dropped is not None and cross.dropped["first_answers"] == 6
    with pytest.raises(UserError, match=r"own has the classes engaged, fear, .* angry, .*: they share fear"):
        measured({"sad": None, "engaged": "engaged", "fear": "fear"})


def test_what_the_dropped_class_had_won_is_counted() -> None:
    logits = np.zeros((3, 8))
    logits[0, 7], logits[0, 2] = 3, 2  # contempt, then fear, which is right
    logits[1, 4] = 1
    logits[2, 5] = 1
    labels = np.array([2, 4, 0])
    third = pytest.approx(1 / 3, abs=1e-6)
    dropped = {"classes": ["contempt"], "first_answers": 1, "accuracy_if_wrong": third}
    assert dropped_classes(WITH_CONTEMPT, EXPRESSIONS, logits, labels) == dropped
    assert dropped_classes(EXPRESSIONS, EXPRESSIONS, logits[:, :7], labels) is None
