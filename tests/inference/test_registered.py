"""Models from a real registry: the same answers as MLflow gives, the champion of the moment, and its card."""

import shutil
import threading
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import open_faces
from mien.inference.address import CurrentModel, NoSuchModel, load_model_of
from mien.inference.classifier import ModelFiles, read_card
from mien.inference.predictor import Predictor
from mien.models.description import CARD
from mien.registry import promotion
from mien.registry.gate import RegisterConfig
from mien.tracking.store import connect
from tests.inference.conftest import pixels_of, write_model
from tests.registry.workspace import photos_of, registered
from tests.servers import wait_until

CHAMPION = "models:/mien-tiny@champion"


def test_it_answers_as_the_served_model_and_as_the_evaluation(two_champions: Path) -> None:
    predictor = Predictor(load_model_of(CHAMPION))
    photos, predicted = photos_of(two_champions, 20)
    rows = pd.read_parquet(two_champions / "build/split/test.parquet").head(20)["row"].to_numpy()
    answers = predictor.model.probabilities(open_faces(two_champions / "build/crop").pixels[rows])
    served = mlflow.pyfunc.load_model(CHAMPION).predict(photos)
    np.testing.assert_allclose(answers, served[list(EXPRESSIONS)].to_numpy(), atol=1e-6)
    assert [EXPRESSIONS[k] for k in answers.argmax(axis=1)] == predicted
    cropped = [predictor.whole_face(pixels_of(predictor, photo)).pixels[0] for photo in photos["image"]]
    np.testing.assert_allclose(predictor.model.probabilities(np.stack(cropped)), answers, atol=1e-6)


def test_it_knows_its_name_version_and_that_it_learnt_from_drawings(two_champions: Path) -> None:
    model = Predictor(load_model_of("models:/mien-tiny/1")).model
    assert (model.name, model.version, model.drawn, model.title) == ("mien-tiny", 1, True, "bars")
    assert model.spec.temperature is not None


def test_a_champion_that_a_person_took_away_is_brought_back_as_the_sentence_says(two_champions: Path) -> None:
    connect().delete_registered_model_alias("mien-tiny", "champion")
    with pytest.raises(NoSuchModel, match=r"its versions are 1, 2; `mien rollback` brings back the last champion"):
        Predictor(load_model_of(CHAMPION))
    promotion.rollback("mien-tiny", by="ada", reason="a mistake")
    assert Predictor(load_model_of(CHAMPION)).model.version == 2


def test_files_that_are_gone_are_an_error_that_says_what_to_do(checkout: Path, weak: Path) -> None:
    registered(weak, RegisterConfig(bootstrap=100))
    (graph,) = checkout.rglob("artifacts/model/model.onnx")
    graph.unlink()
    with pytest.raises(UserError, match="holds no model"):
        Predictor(load_model_of(CHAMPION))


@pytest.mark.parametrize("uri", ["models:/", "models:/mien-tiny", "models:/mien-tiny@", "runs:/abc/model"])
def test_another_form_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="is not a model address"):
        Predictor(load_model_of(uri))


def promote(version: int) -> None:
    promotion.promote("mien-tiny", version, by="ada", reason="a test")


def test_a_new_champion_takes_over_while_others_ask(two_champions: Path) -> None:
    with CurrentModel(CHAMPION, every=0.05) as current:
        assert current.model.version == 2
        seen, failed, done = set[int | None](), list[BaseException](), threading.Event()
        faces = np.zeros((1, 24, 24, current.model.spec.cut.channels), np.uint8)

        def ask() -> None:
            while not done.is_set():
                try:
                    model = current.model
                    model.probabilities(faces)
                    seen.add(model.version)
                except BaseException as error:
                    failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        promote(1)
        wait_until(lambda: current.model.version == 1)
        wait_until(lambda: 1 in seen)
        done.set()
        asking.join()
    assert (seen, failed) == ({1, 2}, [])


def test_it_goes_on_without_the_registry_and_notices_its_return(two_champions: Path) -> None:
    file = two_champions / "mlruns/mlflow.db"
    current = CurrentModel(CHAMPION)
    shutil.move(file, file.with_suffix(".away"))
    current.look()
    assert (current.model.version, "nothing has been registered" in current.standing.problem) == (2, True)
    shutil.move(file.with_suffix(".away"), file)
    promote(1)
    current.look()
    assert (current.model.version, current.standing.problem) == (1, "")


def test_a_version_whose_files_are_broken_does_not_take_over(
    two_champions: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    current = CurrentModel(CHAMPION)
    promote(1)
    # The files of the versions are those of a checkout that other tests share: break the way to them instead.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "mien.inference.address.ModelAddress.files", lambda *_: ModelFiles(two_champions / "nowhere", "mien-tiny")
        )
        current.look()
        assert current.model.version == 2
        assert "nowhere holds no model: model.onnx is missing" in current.standing.problem
        assert "mien-tiny version 2 stays in use" in caplog.text
    current.look()
    assert (current.model.version, current.standing.problem) == (1, "")


@pytest.mark.parametrize("said", ["models:/mien-tiny/2", "folder"])
def test_a_version_and_a_folder_are_not_followed(two_champions: Path, tmp_path: Path, said: str) -> None:
    named = str(write_model(tmp_path / "m")) if said == "folder" else said
    with CurrentModel(named, every=0.01):
        assert not [thread for thread in threading.enumerate() if thread.name == "current-model"]


def test_the_card_lies_beside_the_weights_and_a_damaged_one_stops_no_model(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    assert load_model_of(str(model)).card == ""
    (model / CARD).write_text("# mien-tiny: größer\n", encoding="utf-8")
    assert load_model_of(str(model)).card == "# mien-tiny: größer\n"
    (model / CARD).write_bytes(b"# A card\xff\xfe\n")
    assert read_card(model) == "# A card\ufffd\ufffd\n"
    (model / CARD).unlink()
    (model / CARD).mkdir()
    assert read_card(model) == ""
