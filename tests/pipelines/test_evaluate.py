"""The stages evaluate and report on a small workspace with a real network of random weights."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.models.description import TRAINING_FACES, ModelSpec
from mien.models.graph import export_graph
from mien.models.weights import Parent, save_model
from mien.runtime.spec import CutSpec
from mien.training.inputs import write_lineage
from pipelines.__main__ import run_stage
from tests.evaluation.drawing import LINEAGE, index_of
from tests.stores import once

ARGUMENTS = ["data=sample", "evaluate=standard", "evaluate.bootstrap=100"]
OUTS = (
    *(f"build/evaluate/{name}.json" for name in ("evaluation", "temperature")),
    *(f"reports/{name}" for name in ("metrics.json", "predictions.csv", "confusion.csv")),
)
DRAWN = (
    "reports/report.html",
    "reports/faces.html",
    "reports/figures/train/augmented.png",
    "reports/figures/train/curves.png",
    *(f"reports/figures/crop/contact_{name}.png" for name in EXPRESSIONS),
    *(f"reports/figures/evaluate/{name}.png" for name in ("confusion", "confusion_by_class", "errors", "per_class")),
    *(f"reports/figures/evaluate/{name}.png" for name in ("reliability", "slices")),
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ingest to train leave behind, and the current folder."""
    for stage in ("crop", "split"):
        (tmp_path / "build" / stage).mkdir(parents=True)
    index = index_of(np.arange(84) % 7)
    _write_crop(tmp_path / "build/crop", index)
    for name, rows in (("train", slice(0, 42)), ("val", slice(42, 63)), ("test", slice(63, 84))):
        index.iloc[rows].reset_index(drop=True).to_parquet(tmp_path / f"build/split/{name}.parquet")
    about = {"digest": LINEAGE["split_digest"], "test_faces": "faces"}
    (tmp_path / "build/split/split.json").write_text(json.dumps(about))
    shutil.copytree(once("cnn48", _write_network), tmp_path / "build/train")
    write_lineage(tmp_path / "build/train", LINEAGE, {}, tmp_path)
    np.save(tmp_path / "build/train/augmented.npy", np.zeros((7, 8, 48, 48, 1), np.uint8))
    columns = "epoch,train_loss,val_loss,val_accuracy,val_macro_f1"
    (tmp_path / "build/train/history.csv").write_text(f"{columns}\n0,2,2,0,0\n")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/train.json").write_text('{"best_epoch": 0}')
    (tmp_path / "reports/tune.json").write_text('{"trials": [], "space": {}}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write_network(folder: Path) -> None:
    torch.manual_seed(0)
    spec = ModelSpec({"name": "cnn48"}, CutSpec(48, "grey"))
    network = spec.build()
    folder.mkdir()
    save_model(network, spec, folder)
    export_graph(network, spec, folder / "model.onnx", np.zeros((1, 48, 48, 1), np.uint8))


def _write_crop(folder: Path, index: pd.DataFrame) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (len(index), 48, 48, 1), dtype=np.uint8)
    np.save(folder / "faces.npy", pixels)
    index.to_parquet(folder / "index.parquet")
    cut = {"size": 48, "colour": "grey", "margin": 0.0, "square": False}
    about = {"cut": cut, "classes": EXPRESSIONS, "n": len(index), "digest": LINEAGE["data_digest"]}
    (folder / "crop.json").write_text(json.dumps(about))
    columns = ["where", "face_id", "image", "label", "reason", "detail"]
    rows = [["a.jpg", "x", "a.jpg", "fear", "photo_missing", "a.jpg is not there"]]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "quarantine.csv", index=False)


def digests(root: Path, names: tuple[str, ...]) -> dict[str, str]:
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def test_evaluate_writes_numbers_and_no_picture_twice_the_same(workspace, capsys):
    run_stage("evaluate", ARGUMENTS)
    first = digests(workspace, OUTS)
    run_stage("evaluate", ARGUMENTS)
    assert digests(workspace, OUTS) == first
    assert len(list((workspace / ".mien/looks/faces").iterdir())) == 1  # the same model on the same faces
    assert not [file for file in (workspace / "reports").rglob("*") if file.suffix in (".png", ".html")]
    metrics = json.loads((workspace / "reports/metrics.json").read_text())
    predictions = pd.read_csv(workspace / "reports/predictions.csv")
    assert metrics["n"] == len(predictions) == 21
    assert metrics["accuracy"]["value"] == pytest.approx(predictions["correct"].mean(), abs=1e-6)
    assert set(pd.read_csv(workspace / "reports/confusion.csv")["actual"]) == set(EXPRESSIONS)
    assert predictions["face_id"].tolist() == [f"f{i}" for i in range(63, 84)]
    assert f"accuracy {metrics['accuracy']['value']:.3f}" in capsys.readouterr().out


def test_report_draws_from_the_outs_twice_the_same_and_a_further_slice_reaches_it(workspace):
    (workspace / "build/ingest").mkdir()
    test = pd.read_parquet("build/split/test.parquet")
    faces = test[["face_id"]].assign(camera=["front"] * 15 + ["side"] * 6).iloc[::-1]
    faces.to_parquet("build/ingest/faces.parquet")
    run_stage("evaluate", [*ARGUMENTS, "data.slices=[camera]"])
    slices = json.loads(Path("build/evaluate/evaluation.json").read_text())["slices"]["slices"]
    assert [(s["name"], s["faces"]) for s in slices if s["group"] == "camera"] == [("front", 15), ("side", 6)]
    run_stage("report", ["data=expw"])
    first = digests(workspace, DRAWN)
    run_stage("report", ["data=expw"])
    assert digests(workspace, DRAWN) == first
    assert not list((workspace / "reports/figures/tune").iterdir())  # there was no search
    report = (workspace / "reports/report.html").read_text(encoding="utf-8")
    assert "photo missing" in report and ">camera<" in report
    assert "camera: side" in (workspace / "reports/faces.html").read_text(encoding="utf-8")
    assert str(workspace) not in report


def test_a_test_face_that_a_parent_learnt_from_counts_as_leaked(workspace):
    """All but three, in this case; the network's own training faces are the split's affair."""
    test = pd.read_parquet("build/split/test.parquet")
    parent = Parent("another", workspace / "other")
    parent.folder.mkdir()
    test[["photo_digest", "face_digest", "group"]].assign(part="train")[3:].to_parquet(parent.folder / TRAINING_FACES)
    write_lineage(workspace / "build/train", LINEAGE, {"another": parent}, workspace)
    run_stage("evaluate", ARGUMENTS)
    predictions = pd.read_csv(workspace / "reports/predictions.csv")
    assert predictions["leaked"].tolist() == [False] * 3 + [True] * 18
    assert json.loads(Path("reports/metrics.json").read_text())["leak_free"]["n"] == 3
    faces = pd.read_parquet("build/train/training_faces.parquet")
    assert faces["part"].value_counts().to_dict() == {"train": 42, "val": 21, "parent": 18}


@pytest.mark.parametrize(("file", "says"), [("build/split/split.json", "split"), ("build/crop/crop.json", "faces")])
def test_a_network_of_another_split_or_other_faces_is_not_measured(workspace, file, says):
    other = {**json.loads((workspace / file).read_text()), "digest": "00" * 32}
    (workspace / file).write_text(json.dumps(other))
    with pytest.raises(UserError, match=f"was trained with {says} .* 000000000000"):
        run_stage("evaluate", ARGUMENTS)
    assert not (workspace / "reports/metrics.json").exists()
