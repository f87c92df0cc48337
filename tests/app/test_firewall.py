"""What comes in at all, and what leaves: names, origins, addresses, sizes, times, headers, failures."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
import requests

from mien.app.answers import Answerer
from tests.app.serving import serving


@pytest.mark.parametrize("place", ["docs", "redoc", "openapi.json", "file=/etc/passwd", "api/video/x.mp4", "nothing"])
def test_other_addresses_are_not_there(address: str, place: str) -> None:
    answer = requests.get(f"{address}/{place}", timeout=20)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


PATHS = ["/static/../../../../../../etc/passwd", "/static/%2e%2e/%2e%2e/server.py", "/api/video/..%2f..%2fetc%2fpasswd"]


@pytest.mark.parametrize("path", PATHS)
def test_no_file_beside_the_pages_own_is_read(address: str, path: str) -> None:
    at = urlsplit(address)
    with socket.create_connection((at.hostname, at.port)) as line:  # no client that tidies the path
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    assert answer.split()[1] == b"404"
    assert b"root:" not in answer and b"import" not in answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "faces.example.org"}, 421),  # a foreign name that leads here
        ({"Host": "127.0.0.1.example.org"}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "localhost:80"}, 200),
        ({"Host": "192.0.2.7:7860"}, 200),
        ({"Host": "proxied.example.net"}, 200),
        ({"Origin": "http://evil.example.org"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),  # another server's page on this machine
        ({"Origin": "null"}, 403),
        ({"Origin": "https://proxied.example.net"}, 200),
        ({}, 200),
    ],
)
def test_only_this_servers_names_and_pages_are_answered(
    narrow: tuple[str, Answerer], headers: dict[str, str], status: int
) -> None:
    for path in ("/", "/static/page.js", "/api/model"):
        assert requests.get(f"{narrow[0]}{path}", headers=headers, timeout=20).status_code == status
    own = {"Origin": f"http://{headers.get('Host', urlsplit(narrow[0]).netloc)}", **headers}
    assert requests.post(f"{narrow[0]}/api/predict", b"x", headers=own, timeout=20).status_code in (415, status)


def test_a_browser_is_told_to_ask_no_other_host(address: str) -> None:
    for path in ("/", "/api/model", "/nothing"):
        headers = requests.get(f"{address}{path}", timeout=20).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "http" not in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert headers["cache-control"] == ("no-store" if path.startswith("/api/") else "no-cache")


@pytest.fixture(scope="module")
def narrow(model: str) -> Iterator[tuple[str, Answerer]]:
    """A page that takes little."""
    megabytes = {"uploads_megabytes": 0.5, "frame_megabytes": 0.1, "video_megabytes": 0.2}
    with serving(model, upload_seconds=0.3, hosts=["proxied.example.net"], **megabytes) as served:
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


@pytest.mark.parametrize(("path", "most"), [("/api/frame?camera=12345678", "0.2"), ("/api/video", "0.3")])
def test_a_body_that_does_not_say_its_size_is_counted(narrow: tuple[str, Answerer], path: str, most: str) -> None:
    # One byte too many: a server that closes with bytes unread may reset the line before its answer is read. On a busy
    # machine the last bytes may be late even so.
    answer = b""
    for _ in range(3):
        with suppress(ConnectionResetError):
            answer = answer or send_slowly(narrow[0], path, [bytes(150_000), bytes(int(float(most) * 1e6) - 149_999)])
    assert answer.startswith(b"HTTP/1.1 413")
    assert f"An upload may have at most {most} MB.".encode() in answer


def test_all_bodies_together_are_counted(narrow: tuple[str, Answerer]) -> None:
    answer = requests.post(f"{narrow[0]}/api/predict", data=bytes(600_000), timeout=20)
    assert (answer.status_code, "Too many uploads" in answer.text) == (503, True)
    small = requests.post(f"{narrow[0]}/api/predict", data=b"x", timeout=20)
    assert small.status_code == 415  # what was counted is taken off again


def test_a_client_that_stops_half_way_leaves_the_server_alone(address: str, photo: bytes) -> None:
    at = urlsplit(address)
    for path, kind in (("/api/predict", "image/jpeg"), ("/api/predict", "multipart/form-data; boundary=b")):
        with socket.create_connection((at.hostname, at.port)) as line:
            head = f"POST {path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: {kind}\r\nContent-Length: 90000\r\n\r\n"
            line.sendall(head.encode() + b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx')
    assert requests.post(f"{address}/api/predict", data=photo, timeout=20).status_code == 200


def test_a_failure_shows_nothing_of_itself(page: tuple[str, Answerer], monkeypatch: pytest.MonkeyPatch) -> None:
    address, answerer = page

    def fail(*_: object) -> None:
        raise RuntimeError(f"in {__file__}")

    monkeypatch.setattr(answerer, "answer", fail)
    answer = requests.post(f"{address}/api/predict", data=b"x", timeout=20)
    assert (answer.status_code, answer.json()) == (500, {"error": "Something went wrong on this server."})
