"""The model of the moment: a real registry whose champion changes, goes and comes back."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.inference.address import NoSuchModel
from mien.inference.classifier import ModelFiles
from mien.inference.current import CurrentModel
from mien.registry import promotion
from tests.inference.conftest import write_model

CHAMPION = "models:/mien-tiny@champion"


def promote(version: int) -> None:
    promotion.promote("mien-tiny", version, by="ada", reason="a test")


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


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
        until(lambda: current.model.version == 1)
        until(lambda: 1 in seen)
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
        patch.setattr("mien.inference.address._fetch", lambda *_: ModelFiles(two_champions / "nowhere", "mien-tiny"))
        current.look()
        assert current.model.version == 2
        assert "nowhere holds no model: model.onnx is missing" in current.standing.problem
        assert "mien-tiny version 2 goes on answering" in caplog.text
    current.look()
    assert (current.model.version, current.standing.problem) == (1, "")


def test_there_must_be_one_at_the_start(two_champions: Path) -> None:
    with pytest.raises(NoSuchModel, match="there is no models:/mien-tiny@nobody yet"):
        CurrentModel("models:/mien-tiny@nobody")


@pytest.mark.parametrize("said", ["models:/mien-tiny/2", "folder"])
def test_a_version_and_a_folder_are_not_followed(two_champions: Path, tmp_path: Path, said: str) -> None:
    named = str(write_model(tmp_path / "m")) if said == "folder" else said
    with CurrentModel(named, every=0.01) as current:
        assert not current.follows
        assert not [thread for thread in threading.enumerate() if thread.name == "current-model"]
