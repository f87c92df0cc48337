"""Web server: the page's files, and the API that the page and programs use."""

import json
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final

import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from markdown_it import MarkdownIt
from starlette.background import BackgroundTask
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from mien.app.answers import Answerer, about, has_heat
from mien.app.clips import Clips
from mien.app.firewall import Firewall
from mien.app.turns import Cameras, Refused
from mien.base.errors import UserError
from mien.inference.annotation import class_colours
from mien.inference.classifier import version_words

STATIC: Final = Path(__file__).parent / "static"
CARD: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{}</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="static/theme.css">
<link rel="stylesheet" href="static/card.css"><link rel="icon" href="static/icon.svg"><main>{}</main></html>"""
ERRORS: Final = (
    'An error is `{"error": "a sentence"}` with status 400 (no data), 403 (the page of another site), 404 (no such '
    "address, or a video that is gone), 405 (another method), 408 (too slow), 413 (too large), 415 (not a photo or "
    "video), 421 (another server's name), 422 (a wrong parameter), 429 (a camera's time is over), 501 (cannot read "
    "videos) or 503 (too many requests at once)."
)
FAILED: Final = "Something went wrong on this server."
NOT_FOUND: Final = {404: "There is no such address.", 405: "This address takes no such request."}
log = logging.getLogger(__name__)


def build_app(answerer: Answerer, clips: Clips) -> FastAPI:
    """The routes; what programs use is described at /api and in /api/openapi.json."""
    app = FastAPI(title="mien", description=ERRORS, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    app.mount("/static", StaticFiles(directory=STATIC))
    limits = answerer.limits
    videos = all(map(find_spec, ("av", "pandas", "scipy")))
    cameras = Cameras(limits.cameras, limits.camera_seconds)
    # A few more than compute and wait, so that a request beyond the limit is refused at once.
    threads = CapacityLimiter(limits.at_once + limits.queue + 8)

    async def answered(data: bytes, *, heat: bool = False, picture: bool = False) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            return answerer.answer(data, heat=heat, picture=picture).as_json()

        return await to_thread.run_sync(answer, limiter=threads)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page() -> Response:
        return FileResponse(STATIC / "index.html")

    @app.get("/card", include_in_schema=False)
    def card() -> Response:
        return _as_page("Model card", answerer.current.model.card or "This model has no card.")

    @app.get("/api", include_in_schema=False)
    def reference() -> Response:
        return _as_page("API", api_reference(app))

    @app.get("/api/model")
    def model() -> dict[str, Any]:
        """Which model answers: `model`, its `warnings`, and in `problem` why it may be out of date.

        Further `unsure_below`, the `colours` of the classes, whether `heat` and `video` can be asked for, and limits:
        `photo_megabytes`, `video_megabytes`, `video_seconds`.
        """
        now, photos = answerer.current.standing, answerer.photos
        said = about(now.model)
        name = version_words(said["model"], said["version"])
        return {
            "model": name,
            "warnings": said["warnings"],
            "problem": f"The registry cannot be read now; {name} stays in use." if now.problem else "",
            "colours": class_colours(now.model.spec.classes),
            "unsure_below": photos.unsure_below,
            "heat": has_heat(now.model),
            "video": videos,
            "photo_megabytes": photos.max_megabytes,
            "video_megabytes": limits.video_megabytes,
            "video_seconds": limits.video_seconds,
        }

    @app.post("/api/predict")
    async def predict(
        request: Request,
        heat: Annotated[bool, Query(description="Adds a picture `heat` to each of the first faces.")] = False,
        picture: Annotated[bool, Query(description="Adds `picture`, the photo as it was searched.")] = False,
    ) -> dict[str, Any]:
        """The faces of the photo in the body: the file's bytes, or a form with the file in `photo`.

        The answer has `model`, `version`, `warnings`, a `note`, the photo's `height` and `width`, and `faces`. Each
        face has its number `face`, its `box` (top, left, right, bottom in pixels of the photo as viewers show it), the
        detector's `score`, `label`, `unsure`, `quality` and `probabilities`. Pictures are JPEG in `data:` addresses.
        """
        return await answered(await _photo_of(request), heat=heat, picture=picture)

    @app.post("/api/frame")
    async def frame(
        request: Request,
        camera: Annotated[str, Query(min_length=8, max_length=64, description="A random word that names the camera.")],
    ) -> dict[str, Any]:
        """As /api/predict, for a live camera's picture in the body."""
        cameras.admit(camera)
        return await answered(await request.body())

    @app.post("/api/video")
    async def video(request: Request) -> Response:
        """The faces of the video in the body, as lines of JSON (`application/x-ndjson`).

        `{"share": 0.2}` says how much is done. One line has `faces` and the `timeline` with its `columns` and `data`;
        the last one names the annotated `video` with a `note`, or has `error`.
        """
        if not videos:
            raise Refused("This server cannot read videos; `pip install 'mien[video]'` enables it to.", 501)
        steps = clips.watch(await clips.save(request.stream()))
        first = await anext(steps)  # what is refused before it has a status
        return StreamingResponse(_lines(first, steps), media_type="application/x-ndjson")

    @app.get("/api/video/{name}")
    def annotated(name: str) -> Response:
        """The annotated video as MP4, for `keep_seconds` after it was named."""
        file = clips.annotated(name)  # may be deleted meanwhile
        parts = iter(lambda: file.read(262_144), b"")
        return StreamingResponse(parts, media_type="video/mp4", background=BackgroundTask(file.close))

    async def failed(request: Request, error: Exception) -> Response:
        """A sentence, whatever happened; what does not concern a visitor goes to the log."""
        if isinstance(error, Refused):
            return JSONResponse({"error": str(error)}, error.status)
        if isinstance(error, RequestValidationError):
            where = ", ".join(str(one["loc"][-1]) for one in error.errors())
            return JSONResponse({"error": f"This request has a wrong value: {where}."}, 422)
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else FAILED
        return JSONResponse({"error": NOT_FOUND.get(status, detail)}, status)

    for kind in (Refused, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, failed)
    return app


def api_reference(app: FastAPI) -> str:
    """What programs may ask of the page, in Markdown: each address, its parameters and its answer."""
    api = app.openapi()
    lines = ["# The API of the page", api["info"]["description"]]
    for path, routes in api["paths"].items():
        for method, route in routes.items():
            lines += [f"## {method.upper()} {path}", route["description"]]
            for parameter in route.get("parameters", []):
                kind = parameter["schema"]["type"] + ", needed" * parameter["required"]
                lines.append(f"- `{parameter['name']}` ({kind}): {parameter.get('description', 'part of the address')}")
    return "\n\n".join(lines) + "\n"


def _as_page(title: str, text: str) -> Response:
    """Markdown as a page; a registry is open to many, so that none of its HTML is passed on."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return HTMLResponse(CARD.format(title, markdown.render(text)))


async def _lines(first: dict[str, Any], steps: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """A line for each message; the last one says `error` where a video came no further."""
    yield json.dumps(first) + "\n"
    try:
        async for message in steps:
            yield json.dumps(message) + "\n"
    except Refused as refused:
        yield json.dumps({"error": str(refused)}) + "\n"
    except Exception:
        log.exception("A video failed.")
        yield json.dumps({"error": FAILED}) + "\n"


async def _photo_of(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=10) as form:
        photo = form.get("photo")
        if not isinstance(photo, UploadFile):
            raise Refused("The form has no file in its field `photo`.", 400)
        return await photo.read()


@contextmanager
def application(answerer: Answerer, host: str = "localhost") -> Iterator[Firewall]:
    """The whole application, ready for a server, while the block lasts; `host` is what it is called."""
    with tempfile.TemporaryDirectory(prefix="mien-app-", ignore_cleanup_errors=True) as folder:
        app = build_app(answerer, Clips(answerer, Path(folder)))
        yield Firewall(app, answerer.limits, answerer.photos.max_megabytes, host)


def serve(answerer: Answerer, host: str, port: int, started: Callable[[str], None]) -> None:
    """Serve the page until somebody stops it; `started` is told its address. A UserError for one that is taken."""
    with application(answerer, host) as app, _listening(host, port) as there:
        started(f"http://{host}:{there.getsockname()[1]}")
        uvicorn.Server(settings_for(app)).run(sockets=[there])


def settings_for(app: Firewall) -> uvicorn.Config:
    """How the application is served: without a record of visitors."""
    return uvicorn.Config(
        app,
        port=0,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error
        raise UserError(f"{host}:{port} cannot be used ({why}); choose another --port.") from error
