"""A proxy between mien and a server that fails on demand: refuses, hangs, answers 500, cuts the answer, comes back."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlparse

Mode = Literal["work", "refuse", "hang", "500", "cut"]


class FaultProxy:
    """Hands HTTP requests on to `upstream`, or fails them as `mode` says; notes each of them."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlparse(upstream).netloc
        self._trigger: tuple[str, int, Mode] | None = None
        self._released = threading.Event()
        self._only = ""
        self.seen: list[tuple[Mode, str, str]] = []  # how it was treated, method, path
        self._server: ThreadingHTTPServer | None = None
        self.mode: Mode = "work"
        self._listen(0)

    def set(self, mode: Mode, only: str = "") -> None:
        """Fail like this from now on, only where the path holds a word if one is given; what hangs is let go."""
        self.mode = mode
        self._only = only
        self._released.set()
        self._released = threading.Event()
        if mode == "refuse":
            self._close()
        elif self._server is None:
            self._listen(self.port)

    def fail_at(self, word: str, times: int, mode: Mode) -> None:
        """Work until the request number `times` whose path holds `word`, which fails already."""
        self._trigger = (word, times, mode)

    def handled(self, mode: Mode) -> list[tuple[str, str]]:
        """Method and path of the requests that came in this mode."""
        return [(method, path) for kind, method, path in self.seen if kind == mode]

    def close(self) -> None:
        self._released.set()
        self._close()

    def _close(self) -> None:
        if server := self._server:
            self._server = None
            threading.Thread(target=server.shutdown).start()  # it may be one of its own threads that asks
            server.socket.close()

    def _listen(self, port: int) -> None:
        proxy = self
        self.mode = "work"

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy._answer(self, body_of(self))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - as the base class calls them

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Quiet: a client that went away is no news here."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        path = urlparse(request.path).path
        if self._trigger and self._trigger[0] in path:
            word, left, then = self._trigger
            self._trigger = (word, left - 1, then) if left > 1 else None
            if left == 1:
                self.set(then)
        mode: Mode = self.mode if self._only in path else "work"
        self.seen.append((mode, request.command, path))
        if mode == "500":
            request.send_error(500)
        elif mode == "hang":
            self._released.wait()
        elif mode in ("work", "cut"):
            self._hand_on(request, body, whole=mode == "work")
        request.close_connection = True

    def _hand_on(self, request: BaseHTTPRequestHandler, body: bytes, *, whole: bool) -> None:
        upstream = http.client.HTTPConnection(self._upstream, timeout=60)
        dropped = ("connection", "transfer-encoding", "content-length")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
        upstream.request(request.command, request.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "server", "date"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("Connection", "close")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content if whole else content[: len(content) // 2])
        upstream.close()


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    """A request's body; `requests` sends an empty file in chunks."""
    if request.headers.get("Transfer-Encoding", "") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
