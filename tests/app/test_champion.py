"""The page over a real registry: a new champion answers, and a registry that is down is told without details."""

import shutil
from pathlib import Path

import requests

from mien.registry import promotion
from tests.app.serving import serving


def test_a_new_champion_answers_without_a_restart(two_champions: Path, photo: bytes) -> None:
    with serving("models:/mien-tiny@champion") as (address, answerer):

        def now() -> tuple[str, int, str]:
            about = requests.get(f"{address}/api/model", timeout=20).json()
            answer = requests.post(f"{address}/api/predict", data=photo, timeout=20).json()
            return about["model"], answer["version"], about["problem"]

        assert now() == ("mien-tiny version 2", 2, "")
        promotion.promote("mien-tiny", 1, by="ada", reason="a test")
        answerer.current.look()
        assert now() == ("mien-tiny version 1", 1, "")
        store = two_champions / "mlruns/mlflow.db"
        shutil.move(store, store.with_suffix(".away"))
        answerer.current.look()
        down = "The registry cannot be read now; mien-tiny version 1 goes on answering."
        assert now() == ("mien-tiny version 1", 1, down)
