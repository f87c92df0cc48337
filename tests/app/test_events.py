"""The page's own events, asked as its script asks: what a browser may send, and files that are named and not sent."""

import base64
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
import requests

from mien.app import server
from mien.app.answers import Answerer
from mien.app.page import build_page
from tests.app.asking import ask, event, file_data, shown, upload
from tests.app.serving import serving


def answered(address: str, name: str, data: bytes) -> str:
    """What the page shows for an upload."""
    (path,) = upload(address, name, data).json()
    return shown(ask(address, "mien-image", file_data(path))[1])


def test_a_photo_is_shown_with_its_faces(address: str, photo: bytes) -> None:
    html = answered(address, "face.jpg", photo)
    assert html.count("<article") == 1
    assert html.count("Where the network looked") == 1
    assert len(re.findall(r"<dt>\w+</dt>", html)) == 7
    assert "This model learnt from drawings." in html
    assert "Answered by train" in html


def test_names_lead_nowhere(page: tuple[str, Answerer], address: str, photo: bytes) -> None:
    (path,) = upload(address, "../../../../tmp/escaped.jpg", photo).json()
    assert Path(path).name == "escaped.jpg"
    assert not Path("/tmp/escaped.jpg").exists()
    assert "<article" in shown(ask(address, "mien-image", file_data(path))[1])


def test_what_is_no_photo_gets_a_sentence(address: str) -> None:
    assert "the file is no image of a known format" in answered(address, "face.jpg", b"no photo" * 20)
    assert "the file has 0 bytes" in answered(address, "face.png", b"")


@pytest.mark.parametrize("value", [None, [], "x", 7, {"path": 3}, {"url": "data:image/png;base64,@"}, {"a": [[]] * 99}])
def test_nonsense_is_survived(address: str, value: object, photo: bytes) -> None:
    for of in ("mien-image", "mien-camera"):
        status, said = ask(address, of, value)
        assert status in (200, 400, 422)
        assert not any(sign in str(said) for sign in ("Traceback", ".py", "/tmp"))
    assert "<article" in answered(address, "face.jpg", photo)


def test_a_cameras_picture_is_answered_and_its_place_is_free_again(model: str, photo: bytes) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    with serving(model, cameras=1) as (address, _):
        for _ in range(3):  # each leaves without a word
            html = shown(ask(address, "mien-camera", {"path": None, "url": url})[1])
            assert html.count("<article") == 1
            assert "mien-photo" not in html


def test_visitors_at_the_same_time_get_their_own_answers(address: str, photo: bytes) -> None:
    kinds = [("face.jpg", photo), ("other.jpg", b"no photo" * 20)] * 8
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda kind: answered(address, *kind), kinds))
    assert [("<article" in html) for html in answers] == [True, False] * 8


def test_nothing_of_a_visitor_is_kept(model: str, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[gr.Blocks] = []
    monkeypatch.setattr(server, "build_page", lambda *given: built.append(build_page(*given)) or built[-1])
    with serving(model) as (address, _):
        assert "<article" in answered(address, "face.jpg", photo)
        until = time.monotonic() + 10
        while built[0].state_holder.session_data and time.monotonic() < until:
            time.sleep(0.01)
        assert not built[0].state_holder.session_data
        assert not built[0].state_holder.time_last_used


def test_too_many_are_sent_away(model: str, photo: bytes) -> None:
    with serving(model, queue=1, at_once=1) as (address, answerer):
        number = event(address, "mien-image")
        (path,) = upload(address, "face.jpg", photo).json()
        with answerer.turns.turn():
            body = {"data": [file_data(path)], "fn_index": number, "session_hash": "s"}
            codes = [
                requests.post(f"{address}/gradio_api/queue/join", json=body, timeout=20).status_code for _ in range(6)
            ]
    assert 503 in codes


def test_the_config_tells_nothing_of_the_server(address: str, model: str) -> None:
    config = requests.get(f"{address}/config", timeout=20).text
    assert not any(place in config for place in (str(Path.home()), str(Path.cwd()), model, "site-packages"))


@pytest.mark.parametrize("of", ["mien-image", "mien-camera"])
def test_a_photo_of_the_server_is_not_shown_to_who_names_its_path(
    address: str, photo: bytes, tmp_path: Path, of: str
) -> None:
    (tmp_path / "private.jpg").write_bytes(photo)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "private.jpg")
    (sent,) = upload(address, "face.jpg", photo).json()
    around = Path(sent).parent / ".." / ".." / ".." / tmp_path.relative_to("/") / "private.jpg"
    for path in (tmp_path / "private.jpg", tmp_path / "link.jpg", around, "/dev/zero", "x" * 5000, "a\0b"):
        for value in (file_data(str(path)), {"a": [[file_data(str(path))]]}, {"path": str(path)}):
            assert ask(address, of, value) == (404, {"error": "There is no such upload."})
    assert "<article" in shown(ask(address, "mien-image", file_data(sent))[1])


def test_an_address_is_not_fetched(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(1)

        def listen() -> None:
            try:
                server.accept()[0].close()
                asked.set()
            except TimeoutError:
                pass

        listener = threading.Thread(target=listen)
        listener.start()
        from gradio import processing_utils

        async def fetch(url: str, cache_dir: str) -> str:
            asked.set()
            raise OSError(url)

        monkeypatch.setattr(processing_utils, "async_ssrf_protected_download", fetch)
        status, _ = ask(address, "mien-image", file_data(f"http://127.0.0.1:{server.getsockname()[1]}/x.jpg"))
        listener.join()
    assert status == 404 and not asked.is_set()
