"""File references in requests: refused before Gradio sees them.

A browser uploads a file, is told its path, and names that path in the event that follows. Gradio asks whether a file
was uploaded only in an app that it launched itself, not in one that is mounted in another: it would read any file of
the server, and fetch any address.
"""

import json
from typing import Any, Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.app.turns import Refused
from mien.app.uploads import Uploads

BELOW: Final = "/gradio_api/"
UPLOAD: Final = "/gradio_api/upload"  # its body is files, and names none


class NamedFiles:
    """An ASGI application before the page's, which lets an event through if all files that it names are uploads."""

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http" or scope["method"] != "POST" or not self._is_event(scope["path"]):
            await self._app(scope, receive, send)
            return
        body, last = b"", await receive()
        while last["type"] == "http.request":
            body += last.get("body", b"")
            if not last.get("more_body", False):
                break
            last = await receive()
        else:
            return  # the visitor left, or the gate refused the body
        try:
            self._check(body)
        except Refused as refused:
            await JSONResponse({"error": str(refused)}, refused.status)(scope, receive, send)
            return
        await self._app(scope, _again({**last, "body": body}, receive), send)

    def _is_event(self, path: str) -> bool:
        return path.startswith(BELOW) and path != UPLOAD

    def _check(self, body: bytes) -> None:
        """Refuse a body that names a file which was not uploaded here."""
        try:
            waiting = [json.loads(body)] if body else []
        except (ValueError, RecursionError) as error:
            raise Refused("This request does not come from the page.", 400) from error
        while waiting:
            part: Any = waiting.pop()
            if isinstance(part, dict):
                if part.get("path"):
                    self._uploads.file(part)
                waiting += part.values()
            elif isinstance(part, list):
                waiting += part


def _again(whole: Message, receive: Receive) -> Receive:
    """Gives the body that was read already, and then what comes after it."""
    waiting = [whole]

    async def given() -> Message:
        return waiting.pop() if waiting else await receive()

    return given
