"""Registered models as a beginning, as teachers and as members of an ensemble, along the whole DAG."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mien.inference.classifier import ModelFiles, load_files
from mien.models.description import VERSION_FOLDER
from tests.pipelines.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def here(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A copy of the checkout whose first model is registered and champion, without its state."""
    folder = tmp_path_factory.mktemp("parents") / "mien"
    subprocess.run(["cp", "-a", workspace.folder, folder], check=True)
    for left in ("mlruns", "build/train"):  # the store names its folder in each artifact's address
        shutil.rmtree(folder / left)
    copy = Workspace(folder)
    copy.run("dvc", "repro")
    yield copy


def version(here: Workspace, number: int) -> Path:
    """The files of a registered version."""
    code = "import mlflow, sys; print(mlflow.MlflowClient().get_model_version_download_uri('mien-sample', sys.argv[1]))"
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{here.folder}/mlruns/mlflow.db"}
    return Path(here.run("python", "-c", code, str(number), **store).stdout.strip().removeprefix("file://"))


def test_a_version_that_began_with_one_and_was_taught_by_another_says_so_and_an_ensemble_serves_both(
    here: Workspace,
) -> None:
    here.edit("params.yaml", tune="none")
    here.edit("conf/model/resnet16.yaml", init="models:/mien-sample@champion")
    here.edit("conf/train/short.yaml", epochs=2, teachers=["models:/mien-sample/1"], freeze_epochs=1, patience=0)
    assert "are valid" in here.run("mien", "check").stdout
    here.run("dvc", "repro")
    lineage = json.loads((here.folder / "build/train/lineage.json").read_text())
    weights = lineage["parents"][0]["weights"]
    named = {"name": "mien-sample version 1", "weights": weights}
    assert lineage["parents"] == [{"key": "model.init", **named}, {"key": "train.teachers", **named}]
    faces = pd.read_parquet(here.folder / "build/train/training_faces.parquet")
    counts = faces["part"].value_counts()
    assert counts["parent"] == counts["train"] + counts["val"]
    second = version(here, 2)
    assert pd.read_parquet(second / VERSION_FOLDER / "training_faces.parquet").equals(faces)
    assert "Began with mien-sample version 1" in (second / VERSION_FOLDER / "card.md").read_text()
    assert "mien-sample version 1, weights" in (here.folder / "reports/report.html").read_text()

    here.edit("params.yaml", model="ensemble")
    here.edit("conf/model/ensemble.yaml", members=["models:/mien-sample/1", str(second / VERSION_FOLDER)])
    here.edit("conf/train/short.yaml", teachers=[], freeze_epochs=0)
    here.run("dvc", "repro")
    folders = [version(here, number) / VERSION_FOLDER for number in (1, 2, 3)]
    first, second_model, both = (load_files(ModelFiles(folder, "mien-sample")) for folder in folders)
    pixels = np.load(here.folder / "build/crop/faces.npy")[:20]
    untempered = [np.exp(one.logits(pixels)) for one in (first, second_model)]
    mean = np.mean([answers / answers.sum(axis=1, keepdims=True) for answers in untempered], axis=0)
    assert np.allclose(np.exp(both.logits(pixels)), mean, atol=1e-5)
    cv2.imwrite(str(here.folder / "face.png"), pixels[0])
    said = here.run("mien", "predict", "face.png", "--cropped", "--model", "models:/mien-sample/3").stdout
    assert "mien-sample version 3" in said


def test_a_model_that_is_not_there_ends_tune_with_one_sentence(here: Workspace) -> None:
    here.edit("params.yaml", model="resnet16")
    here.edit("conf/model/resnet16.yaml", init="models:/mien-nobody@champion")
    done = here.run("dvc", "repro", "tune", check=False)
    assert (
        "mien: model.init: there is no models:/mien-nobody@champion" in done.stderr and "Traceback" not in done.stderr
    )
