"""What comes in at all, and what leaves: addresses, sizes, times, headers, failures."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from mien.app.answers import Answerer
from tests.app.asking import upload
from tests.app.serving import serving

ELSEWHERE = [
    *(f"/gradio_api/{place}" for place in ("info", "run/predict", "runs", "vibe-code", "file/{file}", "file={file}")),
    *(f"/gradio_api/{kind}=http://127.0.0.1:1/" for kind in ("proxy", "file")),
    *("/file={file}", "/monitoring", "/docs", "/openapi.json", "/login", "/nothing"),
]


@pytest.mark.parametrize("place", ELSEWHERE)
def test_other_addresses_are_not_there(address: str, place: str) -> None:
    path = place.format(file=Path(__file__).resolve())
    answer = requests.get(f"{address}{path}", timeout=20)
    assert (answer.status_code, answer.json()) == (404, {"error": "There is no such address."})


@pytest.mark.parametrize("path", ["/assets/../../../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/index.html"])
def test_no_file_beside_the_pages_own_is_read(address: str, path: str) -> None:
    at = urlsplit(address)
    with socket.create_connection((at.hostname, at.port)) as line:  # no client that tidies the path
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] in (b"403", b"404")
    assert b"root:" not in answer


def test_not_even_an_upload_is_read_by_its_address(address: str, photo: bytes) -> None:
    (path,) = upload(address, "face.jpg", photo).json()
    assert Path(path).read_bytes() == photo
    assert requests.get(f"{address}/gradio_api/file={path}", timeout=20).status_code == 404


def test_a_browser_is_told_to_ask_no_other_host(address: str) -> None:
    for path in ("/", "/api/model", "/nothing"):
        headers = requests.get(f"{address}{path}", timeout=20).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "http" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.fixture(scope="module")
def narrow(model: str) -> Iterator[tuple[str, Answerer]]:
    """A page that takes little."""
    megabytes = {"uploads_megabytes": 0.5, "frame_megabytes": 0.1, "video_megabytes": 60, "disk_megabytes": 0.2}
    with serving(model, upload_seconds=0.3, **megabytes) as served:
        yield served


def send_slowly(address: str, path: str, parts: list[bytes], *, between: float = 0.0) -> bytes:
    """The answer to a body in chunks whose sum the headers do not tell."""
    at = urlsplit(address)
    more = "Connection: close\r\nTransfer-Encoding: chunked"
    with socket.create_connection((at.hostname, at.port), timeout=10) as line:
        line.sendall(f"POST {path} HTTP/1.1\r\nHost: {at.netloc}\r\n{more}\r\n\r\n".encode())
        for part in parts:
            line.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(between)
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_a_body_has_to_arrive_in_time(narrow: tuple[str, Answerer]) -> None:
    answer = send_slowly(narrow[0], "/api/predict", [b"x"], between=0.0)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"took longer than 0.3 seconds" in answer


def test_a_body_that_does_not_say_its_size_is_counted(narrow: tuple[str, Answerer]) -> None:
    answer = send_slowly(narrow[0], "/gradio_api/queue/join", [bytes(190_000), bytes(10_000)])
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"An upload may have at most 0.2 MB." in answer


def test_all_bodies_together_are_counted(narrow: tuple[str, Answerer]) -> None:
    answer = requests.post(f"{narrow[0]}/api/predict", data=bytes(600_000), timeout=20)
    assert (answer.status_code, "Too many uploads" in answer.text) == (503, True)
    small = requests.post(f"{narrow[0]}/api/predict", data=b"x", timeout=20)
    assert small.status_code == 415  # what was counted is taken off again


def test_a_full_disk_is_not_filled_further(narrow: tuple[str, Answerer]) -> None:
    assert upload(narrow[0], "a.bin", bytes(250_000)).status_code == 200
    refused = upload(narrow[0], "b.bin", b"x")
    assert (refused.status_code, "in a minute" in refused.text) == (503, True)


def test_a_client_that_stops_half_way_leaves_the_server_alone(address: str, photo: bytes) -> None:
    at = urlsplit(address)
    for path, kind in (("/api/predict", "image/jpeg"), ("/gradio_api/upload", "multipart/form-data; boundary=b")):
        with socket.create_connection((at.hostname, at.port)) as line:
            head = f"POST {path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: {kind}\r\nContent-Length: 90000\r\n\r\n"
            line.sendall(head.encode() + b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx')
    assert requests.post(f"{address}/api/predict", data=photo, timeout=20).status_code == 200


def test_a_failure_shows_nothing_of_itself(page: tuple[str, Answerer], monkeypatch: pytest.MonkeyPatch) -> None:
    address, answerer = page

    def fail(*_: object) -> None:
        raise RuntimeError(f"in {__file__}")

    monkeypatch.setattr(answerer, "answer", fail)
    answer = requests.post(f"{address}/api/predict", data=b"x", timeout=20)
    assert (answer.status_code, answer.json()) == (500, {"error": "Something went wrong on this server."})
