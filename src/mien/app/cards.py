"""Answers as HTML: the photo with its faces, and a card of probabilities for each."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mien.app.answers import Answer
from mien.app.clip import Watched
from mien.app.pictures import data_uri, face_thumbnail, heat_thumbnail
from mien.inference.classifier import LoadedModel
from mien.inference.predictor import FacePrediction

PAGES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


def photo_answer(answer: Answer, photo: np.ndarray, sure_from: float) -> str:
    """The page's part for a photo, of which `photo` (H, W, 3) uint8 RGB is shown."""
    return _rendered(answer, _cards(answer, photo), data_uri(photo), sure_from)


def live_answer(answer: Answer, frame: np.ndarray, sure_from: float) -> str:
    """As `photo_answer`, without the photo: the camera shows it already."""
    return _rendered(answer, _cards(answer, frame), "", sure_from)


def video_answer(watched: Watched, sure_from: float) -> str:
    """The page's part for a video: its faces over time, and a card with the mean of each."""
    cards = [{"face": seen.face, "picture": data_uri(seen.picture), "heat": "", "place": ""} for seen in watched.faces]
    return PAGES.get_template("video.html").render(
        watched=watched,
        cards=cards,
        timeline="data:image/png;base64," + base64.b64encode(watched.timeline).decode(),
        warnings=warnings_of(watched.model),
        percent=percent,
        says=says,
        sure_from=sure_from,
    )


def notice(sentence: str) -> str:
    """A sentence where an answer would stand."""
    return PAGES.get_template("notice.html").render(sentence=sentence)


def name_of(model: LoadedModel) -> str:
    """What a visitor may know of a model's name: of a folder or file not where on the server it lies."""
    return model.name if model.version is not None else Path(model.name).name


def says(model: LoadedModel) -> str:
    """`mien-expw version 3`, or the name of the folder or file."""
    return model.says if model.version is not None else name_of(model)


def warnings_of(model: LoadedModel) -> list[str]:
    """What a person must know before believing this model."""
    drawn = "This model learnt from drawings. On a photograph its answers mean nothing."
    uncalibrated = "The probabilities of this model are not calibrated."
    return [drawn] * model.drawn + [uncalibrated] * (model.spec.temperature is None)


def _rendered(answer: Answer, cards: Sequence[dict[str, Any]], photo: str, sure_from: float) -> str:
    return PAGES.get_template("answer.html").render(
        answer=answer,
        cards=cards,
        photo=photo,
        warnings=warnings_of(answer.model),
        percent=percent,
        says=says,
        sure_from=sure_from,
    )


def _cards(answer: Answer, photo: np.ndarray) -> list[dict[str, Any]]:
    heat = answer.heat if answer.heat is not None else ()
    maps = [data_uri(heat_thumbnail(crop, one)) for crop, one in zip(answer.crops, heat, strict=False)]
    maps += [""] * (len(answer.faces) - len(maps))
    return [
        {
            "face": face,
            "picture": data_uri(face_thumbnail(photo, answer.height, face.box)),
            "heat": one,
            "place": _place(face, answer),
        }
        for face, one in zip(answer.faces, maps, strict=True)
    ]


def _place(face: FacePrediction, answer: Answer) -> str:
    """Where a face lies, as CSS in percent of the photo."""
    box = face.box
    return (
        f"left:{100 * box.left / answer.width:.3f}%;top:{100 * box.top / answer.height:.3f}%;"
        f"width:{100 * (box.right - box.left) / answer.width:.3f}%;"
        f"height:{100 * (box.bottom - box.top) / answer.height:.3f}%"
    )


def percent(probability: float) -> str:
    """`83 %`, and no 0 % or 100 % that is none."""
    if 0 < probability < 0.005:
        return "< 1 %"
    if 0.995 <= probability < 1:
        return "> 99 %"
    return f"{100 * probability:.0f} %"
