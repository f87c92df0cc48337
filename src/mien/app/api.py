"""JSON API: `/api/predict` and `/api/model`."""

from typing import Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from starlette.datastructures import UploadFile
from starlette.responses import JSONResponse

from mien.app.answers import Answer, Answerer
from mien.app.cards import name_of, says, warnings_of
from mien.app.turns import Refused

BEHIND: Final = "The registry cannot be read now; {} stays in use."


def add_routes(app: FastAPI, answerer: Answerer) -> None:
    """Make the routes known."""
    waiting = answerer.limits.at_once + answerer.limits.queue
    threads = CapacityLimiter(waiting + 8)  # a few more, so that who is one too many hears it at once

    @app.get("/api/model")
    def model() -> dict[str, Any]:
        """Which model answers, what to know of it, and whether it may be out of date."""
        now = answerer.current.standing
        problem = BEHIND.format(says(now.model)) if now.problem else ""
        return {"model": says(now.model), "warnings": warnings_of(now.model), "problem": problem}

    @app.post("/api/predict")
    async def predict(request: Request) -> JSONResponse:
        """The faces of the photo in the body: the file's bytes, or a form with the file in `photo`."""
        try:
            data = await _photo_of(request)
            return JSONResponse(as_json(await to_thread.run_sync(answerer.answer, data, limiter=threads)))
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)


def as_json(answer: Answer) -> dict[str, Any]:
    """An answer as programs read it."""
    return {
        "model": name_of(answer.model),
        "version": answer.model.version,
        "warnings": warnings_of(answer.model),
        "note": answer.note,
        "faces": [face.as_json(number) for number, face in enumerate(answer.faces, start=1)],
    }


async def _photo_of(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=10) as form:
        photo = form.get("photo")
        if not isinstance(photo, UploadFile):
            raise Refused("The form has no file in its field `photo`.", 400)
        return await photo.read()
