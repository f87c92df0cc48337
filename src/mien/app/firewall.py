"""Request filter: whose requests come in, how large and slow they may be, and the headers of every answer."""

import asyncio
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.app.limits import AppConfig
from mien.app.turns import Refused

PREDICT: Final = "/api/predict"
VIDEO: Final = "/api/video"
AROUND: Final = 65_536  # bytes of boundaries and headers around a file
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}


class Firewall:
    """An ASGI application before the page's. What it refuses while a body arrives, it raises where that is read."""

    def __init__(self, app: ASGIApp, limits: AppConfig, photo_megabytes: float, host: str) -> None:
        self._app = app
        self._limits = limits
        self._agreed = {name.lower() for name in limits.hosts}
        self._names = self._agreed | {"localhost", host.lower()}
        self._megabytes = {PREDICT: photo_megabytes, VIDEO: limits.video_megabytes}
        self._under_way = 0  # bytes of the bodies that are held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if scope["path"].startswith("/api/"):  # faces are not kept in a browser's cache
                    headers["cache-control"] = "no-store"
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif refused := self._refused(Headers(scope=scope)):
            await JSONResponse({"error": str(refused)}, refused.status)(scope, receive, send_with_headers)
        else:
            await self._pass(scope, receive, send_with_headers)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        got = held = 0
        whole, until = False, asyncio.get_running_loop().time() + self._limits.upload_seconds
        most = round(self._megabytes.get(scope["path"], self._limits.frame_megabytes) * 1e6) + AROUND

        async def body() -> Message:
            nonlocal got, held, whole
            if whole:  # from now on it is only asked whether the client is still there
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError as error:
                seconds = f"{self._limits.upload_seconds:g}"
                raise Refused(f"The upload took longer than {seconds} seconds.", 408) from error
            part, whole = len(message.get("body", b"")), not message.get("more_body", False)
            got, held, self._under_way = got + part, held + part, self._under_way + part
            if got > most:
                raise Refused(f"An upload may have at most {most / 1e6:,.1f} MB.", 413)
            if self._under_way > self._limits.uploads_megabytes * 1e6:
                raise Refused("Too many uploads at once; please try again in a moment.", 503)
            if whole and scope["path"] == VIDEO:  # on the disk, which has a limit of its own
                held, self._under_way = 0, self._under_way - held
            return message

        try:
            await self._app(scope, body, send)
        finally:
            self._under_way -= held

    def _refused(self, headers: Headers) -> Refused | None:
        """A foreign page may lead a browser here by a name of its own, or send requests, which their origin tells."""
        host, origin = headers.get("host", ""), headers.get("origin")
        name = _name(f"//{host}")
        if name not in self._names and not _is_number(name):  # no name server can give a number to somebody else
            return Refused("This server has another name; `hosts` in conf/app.yaml lists what it is called.", 421)
        if origin is not None and origin.partition("://")[2] != host and _name(origin) not in self._agreed:
            return Refused("This request comes from the page of another site.", 403)
        return None


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_number(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
