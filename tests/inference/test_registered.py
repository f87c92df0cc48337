"""Models from a real registry: the same answers as MLflow's own loading gives, and sentences where there is none."""

import os
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.inference.address import NoSuchModel
from mien.inference.predictor import Predictor
from mien.registry.gate import RegisterConfig
from mien.tracking.store import URI, use_store
from tests.inference.conftest import pixels_of
from tests.registry.test_register import registered
from tests.registry.workspace import photos_of

CHAMPION = "models:/mien-tiny@champion"


def test_it_answers_as_the_served_model_and_as_the_evaluation(two_champions: Path) -> None:
    predictor = Predictor.load(CHAMPION)
    photos, predicted = photos_of(two_champions, 20)
    rows = pd.read_parquet(two_champions / "build/split/test.parquet").head(20)["row"].to_numpy()
    answers = predictor.model.probabilities(open_faces(two_champions / "build/crop").pixels[rows])
    served = mlflow.pyfunc.load_model(CHAMPION).predict(photos)
    np.testing.assert_allclose(answers, served[list(EXPRESSIONS)].to_numpy(), atol=1e-6)
    assert [EXPRESSIONS[k] for k in answers.argmax(axis=1)] == predicted
    cropped = [predictor.whole_face(pixels_of(predictor, photo)).pixels[0] for photo in photos["image"]]
    np.testing.assert_allclose(predictor.model.probabilities(np.stack(cropped)), answers, atol=1e-6)


def test_it_knows_its_name_version_and_that_it_learnt_from_drawings(two_champions: Path) -> None:
    model = Predictor.load("models:/mien-tiny/1").model
    assert (model.name, model.version, model.drawn, model.title) == ("mien-tiny", 1, True, "bars")
    assert model.temperature is not None


@pytest.mark.parametrize("uri", ["models:/mien-tiny@nobody", "models:/mien-tiny/7", "models:/mien-other@champion"])
def test_no_such_model(two_champions: Path, uri: str) -> None:
    with pytest.raises(NoSuchModel, match=uri):
        Predictor.load(uri)


def test_looking_creates_no_store(tmp_path: Path, no_store: None) -> None:
    use_store(tmp_path)
    with pytest.raises(NoSuchModel, match="nothing has been registered"):
        Predictor.load(CHAMPION)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_text("garbage, and enough of it to be looked at" * 10)
    monkeypatch.setenv(URI, f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match=r"sqlite:.* is no database of MLflow's.*file is not a database"):
        Predictor.load(CHAMPION)


def test_files_that_are_gone_are_an_error_that_says_what_to_do(checkout: Path, weak: Path) -> None:
    registered(weak, RegisterConfig(bootstrap=100))
    (graph,) = checkout.rglob("artifacts/model/model.onnx")
    graph.unlink()
    with pytest.raises(UserError, match="holds no model"):
        Predictor.load(CHAMPION)


def test_a_dead_server_is_an_error_that_names_it(no_store: None, closed_port: str) -> None:
    os.environ[URI] = closed_port
    with pytest.raises(UserError, match=f"{closed_port} failed"):
        Predictor.load(CHAMPION)


@pytest.mark.parametrize("uri", ["models:/", "models:/mien-tiny", "models:/mien-tiny@", "runs:/abc/model"])
def test_another_form_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="names no model"):
        Predictor.load(uri)
