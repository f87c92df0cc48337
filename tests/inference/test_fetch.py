"""A detector's file over http from a server of the test's own, and every way in which that goes wrong."""

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien.base.errors import UserError
from mien.sources.detect import FILES, fetch, file_of, is_published, kept_at, take_from

CONTENT = bytes(range(256)) * 20
ANSWERS = {"/right": (200, CONTENT, len(CONTENT)), "/other": (200, CONTENT[::-1], len(CONTENT))}
ANSWERS |= {"/longer": (200, CONTENT * 2, 2 * len(CONTENT)), "/short": (200, CONTENT[:1000], len(CONTENT))}
ANSWERS |= {"/gone": (404, b"no", 2)}


class Publisher(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        code, body, announced = ANSWERS[self.path]
        self.send_response(code)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    small = dataclasses.replace(FILES["yunet"], size=len(CONTENT), sha256=digest)
    monkeypatch.setitem(FILES, "yunet", small)
    return tmp_path / "cache" / "mien"


def test_the_published_file_is_put_in_its_place_and_found_there(server: str, cache: Path) -> None:
    place = fetch("yunet", f"{server}/right")
    assert place == kept_at("yunet") == cache / "face_detection_yunet_2023mar.onnx"
    assert place.read_bytes() == CONTENT
    assert place.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert file_of("yunet", "") == place
    assert is_published(place, "yunet")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/other", "is not face_detection_yunet_2023mar.onnx as it was published: its SHA-256 begins with"),
        ("/longer", "is not face_detection_yunet_2023mar.onnx as it was published"),
        ("/short", "the download broke off after 1,000 of 5,120 bytes; try again."),
        ("/gone", "the server answered 404 (Not Found); `--from FILE` takes it from a file"),
    ],
)
def test_anything_else_is_refused_and_leaves_what_was_there(server: str, cache: Path, path: str, sentence: str) -> None:
    cache.mkdir(parents=True)
    kept_at("yunet").write_bytes(b"before")
    with pytest.raises(UserError) as refusal:
        fetch("yunet", server + path)
    assert f"{server}{path}: {sentence}" in str(refusal.value)
    assert [file.read_bytes() for file in cache.iterdir()] == [b"before"]


def test_without_a_network_it_says_how_to_do_without(cache: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(Connection refused\); `--from FILE` takes it"):
        fetch("yunet", "http://127.0.0.1:9/nobody")
    assert not cache.exists()


def test_a_copy_of_the_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "copy.onnx").write_bytes(CONTENT)
    assert take_from("yunet", tmp_path / "copy.onnx").read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"gone\.onnx: cannot be used: No such file or directory\."):
        take_from("yunet", tmp_path / "gone.onnx")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, server: str) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"cache/mien: cannot be written: "):
        fetch("yunet", f"{server}/right")


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask
