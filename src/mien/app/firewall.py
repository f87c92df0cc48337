"""Request filter: the few routes that the page needs, with limits on bodies.

Gradio answers many more addresses than this page uses, some of which read files or start programs. What is not
listed here is answered with 404, whatever a later version adds.
"""

import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.app.body import Body
from mien.app.limits import AppConfig
from mien.app.turns import Refused
from mien.app.uploads import Uploads

UPLOAD: Final = "/gradio_api/upload"
PREDICT: Final = "/api/predict"
ANSWERS: Final = "/gradio_api/queue/data"  # a stream that stays open while a browser waits
KNOWN: Final = {
    "GET": {
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/robots.txt",
        "/api/model",
        ANSWERS,
        "/gradio_api/upload_progress",
        "/gradio_api/startup-events",
    },
    "POST": {UPLOAD, PREDICT, "/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset"},
}
BELOW: Final = {"GET": ("/assets/", "/static/", "/gradio_api/heartbeat/"), "POST": ("/gradio_api/stream/",)}
AROUND: Final = 65_536  # bytes of boundaries, headers and JSON around a file
# Scripts in the page's own text, and templates that compile: Gradio is built of them. No other host is ever asked.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS: Final = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]
log = logging.getLogger(__name__)


class Gate:
    """An ASGI application before the page's."""

    def __init__(
        self,
        app: ASGIApp,
        limits: AppConfig,
        photo_megabytes: float,
        uploads: Uploads,
        gone: Callable[[str], None],  # is told the session of a browser that no longer listens for answers
    ) -> None:
        self._app = app
        self._gone = gone
        self._limits = limits
        self._photo = photo_megabytes
        self._uploads = uploads
        self._under_way = 0  # bytes of the bodies of all requests that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif refused := self._refused(scope["method"], scope["path"]):
            await _say(refused, scope, receive, send)
        else:
            await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = 0

        def count(part: int) -> bool:
            nonlocal held
            held, self._under_way = held + part, self._under_way + part
            return self._under_way <= self._limits.uploads_megabytes * 1e6

        body = Body(receive, self._most(scope["path"]), self._limits.upload_seconds, count)
        answer = Answering(send, body)
        try:
            await self._app(scope, body, answer)
        except Exception as error:
            if body.refused is None and not isinstance(error, ClientDisconnect):
                log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        finally:
            self._under_way -= held
            if scope["path"] == ANSWERS:
                self._gone(parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0])
        if not answer.started:
            await _say(body.refused or Refused("Something went wrong on this server.", 500), scope, receive, send)

    def _refused(self, method: str, path: str) -> Refused | None:
        as_read = "GET" if method == "HEAD" else method
        if path not in KNOWN.get(as_read, ()) and not path.startswith(BELOW.get(as_read, ("//",))):
            return Refused("There is no such address.", 404)
        if path == UPLOAD and self._uploads.bytes_on_disk() > self._limits.disk_megabytes * 1e6:
            return Refused("Too many uploads at once; please try again in a minute.", 503)
        return None

    def _most(self, path: str) -> int:
        """The bytes that a body may have there."""
        megabytes = {PREDICT: self._photo, UPLOAD: max(self._photo, self._limits.video_megabytes)}
        return round(megabytes.get(path, self._limits.frame_megabytes * 4 / 3) * 1e6) + AROUND


class Answering:
    """Sends for an application, with the headers that every answer bears.

    What it says of its own failure is held back, and all that it says once its request was refused.
    """

    def __init__(self, send: Send, body: Body) -> None:
        self.started = False
        self._send = send
        self._body = body

    async def __call__(self, message: Message) -> None:
        """Send a part of an answer."""
        if message["type"] == "http.response.start" and not self._is_held(message):
            self.started = True
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        if self.started:
            await self._send(message)

    def _is_held(self, message: Message) -> bool:
        return bool(message["status"] == 500 or self._body.refused)


async def _say(refused: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    await JSONResponse({"error": str(refused)}, refused.status, headers)(scope, receive, send)
