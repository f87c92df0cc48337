"""The API over HTTP: photos, camera pictures and the model, also while the champion changes."""

import base64
import io
import re
import shutil
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from mien.app.answers import Answerer
from mien.base.classes import EXPRESSIONS
from mien.inference.predictor import Predictor
from mien.registry import promotion
from mien.sources.detect import PredictConfig
from tests.app.serving import serving
from tests.inference.conftest import pixels_of


def ask(address: str, data: bytes) -> requests.Response:
    return requests.post(f"{address}/api/predict", data=data, timeout=20)


def picture(form: str, side: int = 64, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, form, **options)
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, with a body of zeros that is small."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


def test_it_answers_as_the_predictor(page: tuple[str, Answerer], photo: bytes) -> None:
    address, answerer = page
    answer = ask(address, photo)
    predictor = Predictor(answerer.current.model)
    (expected,) = predictor.predict(pixels_of(predictor, photo))
    assert answer.status_code == 200
    (face,) = answer.json()["faces"]
    assert list(face["probabilities"]) == list(EXPRESSIONS)
    assert face["probabilities"] == pytest.approx(expected.probabilities)
    assert (face["box"], face["label"], face["unsure"]) == (list(expected.box), expected.label, expected.unsure)
    about = requests.get(f"{address}/api/model", timeout=20).json()
    name = Path(answerer.current.model.name).name  # and not where on this machine it lies
    assert (about["model"], about["problem"], answer.json()["model"]) == (name, "", name)
    assert "drawings" in answer.json()["warnings"][0]


def test_heat_maps_and_the_photo_come_where_they_are_asked_for(address: str, photo: bytes) -> None:
    plain = ask(address, photo).json()
    both = requests.post(f"{address}/api/predict?heat=true&picture=true", data=photo, timeout=60).json()
    shown = [both.pop("picture"), *(face.pop("heat") for face in both["faces"])]
    assert both == plain
    sizes = [
        Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))).size for uri in shown
    ]
    assert sizes == [(plain["width"], plain["height"]), (144, 144)]


def test_a_cameras_picture_is_answered_and_its_places_are_few(model: str, photo: bytes) -> None:
    with serving(model, cameras=1, frame_megabytes=0.5) as (address, _):

        def send(camera: str, data: bytes = photo) -> tuple[int, dict[str, Any]]:
            answer = requests.post(f"{address}/api/frame?camera={camera}", data=data, timeout=20)
            return answer.status_code, answer.json()

        assert send("camera-1") == (200, ask(address, photo).json())
        assert send("camera-2") == (503, {"error": "Too many cameras are live; please try again in a moment."})
        assert send("camera-1", bytes(600_000)) == (413, {"error": "An upload may have at most 0.6 MB."})
        assert send("x") == (422, {"error": "This request has a wrong value: camera."})


def test_the_card_is_shown_and_nothing_of_it_is_obeyed(address: str) -> None:
    html = requests.get(f"{address}/card", timeout=20).text
    assert "<h1>Model card: a test</h1>" in html and "<table>" in html
    assert "<script" not in html and "javascript:alert" not in re.findall(r'href="([^"]*)"', html)


def test_visitors_at_the_same_time_get_their_own_answers(address: str, photo: bytes) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda data: ask(address, data).status_code, [photo, b"no photo" * 20] * 8))
    assert answers == [200, 415] * 8


def test_too_many_are_sent_away(model: str, photo: bytes) -> None:
    with serving(model, queue=1, at_once=1, wait_seconds=1.0) as (address, answerer):
        with answerer.turns.turn(), ThreadPoolExecutor(4) as pool:
            refused = list(pool.map(lambda _: ask(address, photo), range(4)))
        assert {(one.status_code, one.json()["error"]) for one in refused} == {
            (503, "Too many requests at once; please try again in a moment.")
        }
        assert ask(address, photo).status_code == 200


def test_a_form_answers_as_the_bytes_do(address: str, photo: bytes) -> None:
    form = requests.post(f"{address}/api/predict", files={"photo": ("../../etc/passwd", photo)}, timeout=20)
    assert form.json() == ask(address, photo).json()
    none = requests.post(f"{address}/api/predict", files={"other": ("x.jpg", photo)}, timeout=20)
    assert (none.status_code, none.json()["error"]) == (400, "The form has no file in its field `photo`.")


def test_a_photo_without_a_face_says_so(address: str) -> None:
    answer = ask(address, picture("PNG")).json()
    assert answer["faces"] == []
    assert answer["note"].startswith("No face found. A face must be seen from the front and be at least 40 x 40 pixels")


HOSTILE = {
    "nothing": (b"", 400, "the file has 0 bytes"),
    "text": (b"<?php system('id'); ?>" * 10, 415, "the file is no image of a known format"),
    "a PNG's name only": (b"\x89PNG\r\n\x1a\n" + b"x" * 100, 415, "the file is no image of a known format"),
    "a script": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", 415, "no image of a known"),
    "half a JPEG": (picture("JPEG", 512)[:800], 415, "is truncated"),
    "a bomb": (png_of(60_000, 60_000), 413, "60000 x 60000 pixels are more than 100 megapixels"),
    "too little in it": (png_of(9_000, 9_000), 415, "PNG file"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_photo_gets_a_sentence(address: str, kind: str) -> None:
    data, status, says = HOSTILE[kind]
    answer = ask(address, data)
    assert answer.status_code == status
    assert answer.json()["error"].startswith("This photo cannot be used: ")
    assert says in answer.json()["error"]
    assert not any(sign in answer.text for sign in ("Traceback", ".py", "/tmp", str(Path.home())))


def test_the_limits_of_a_photo_hold(model: str, photo: bytes) -> None:
    with serving(model, photos=PredictConfig(max_megapixels=0.001, max_megabytes=0.1)) as (address, _):
        small = ask(address, photo)
        assert (small.status_code, "more than 0.001 megapixels" in small.text) == (413, True)
        assert ask(address, bytes(120_000)).json()["error"] == "A photo may have at most 0.1 MB."
        large = ask(address, bytes(300_000))
        assert (large.status_code, large.json()["error"]) == (413, "An upload may have at most 0.2 MB.")


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
        down = "The registry cannot be read now; mien-tiny version 1 stays in use."
        assert now() == ("mien-tiny version 1", 1, down)


def test_the_server_describes_its_api(address: str) -> None:
    """At /api for people, in the page's own colours, and as OpenAPI for programs; each with every address."""
    described = requests.get(f"{address}/api/openapi.json", timeout=20).json()
    names = "model", "predict", "frame", "video", "video/{name}"
    assert set(described["paths"]) == {f"/api/{name}" for name in names}
    page = requests.get(f"{address}/api", timeout=20)
    assert page.headers["content-type"].startswith("text/html")
    assert all(path in page.text for path in described["paths"]) and "static/card.css" in page.text
