"""Answers to a visitor's photo, within the limits, and as JSON."""

import base64
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from mien.app.limits import AppConfig
from mien.app.turns import Refused, Turns
from mien.base.errors import UserError
from mien.inference.address import CurrentModel
from mien.inference.classifier import LoadedModel
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, Predictor
from mien.runtime.cut import Box
from mien.runtime.decode import UnreadablePhoto
from mien.sources.detect import Detector, PredictConfig

STATUS: Final = {"too_large": 413, "empty_file": 400}  # of photos that cannot be used; the others are no photos: 415
LONGEST: Final = 1280  # pixels of a photo that is sent back
SIDE: Final = 144  # pixels of a face that is sent back; twice of what CSS gives it, for sharp screens
DRAWN: Final = "This model learnt from drawings. On a photograph its answers mean nothing."
UNCALIBRATED: Final = "The probabilities of this model are not calibrated."


@dataclass(frozen=True)
class Answer:
    """What one photo gave."""

    model: LoadedModel  # that answered
    height: int  # of the photo, in pixels
    width: int
    faces: list[FacePrediction]
    heat: list[np.ndarray]  # where the network looked in the first faces, (144, 144, 3) uint8 RGB each
    note: str  # a sentence, such as why there is no face
    picture: np.ndarray | None = None  # the photo as it was searched, (H, W, 3) uint8 RGB

    def as_json(self) -> dict[str, Any]:
        """The answer as programs and the page read it."""
        faces = [{"face": number, **face.to_dict()} for number, face in enumerate(self.faces, start=1)]
        for face, heat in zip(faces, self.heat, strict=False):
            face["heat"] = data_uri(heat)
        said = {**about(self.model), "note": self.note, "height": self.height, "width": self.width, "faces": faces}
        return said if self.picture is None else {**said, "picture": data_uri(shrunk_to(self.picture, LONGEST))}


class Answerer:
    """Answers photos with the model of the moment, at most `at_once` of them at the same time."""

    def __init__(self, current: CurrentModel, detector: Detector, photos: PredictConfig, limits: AppConfig) -> None:
        self.current = current
        self.photos = photos
        self.limits = limits
        self.turns = Turns(limits.at_once, limits.queue, limits.wait_seconds)
        self._detector = detector

    def answer(self, data: bytes, *, heat: bool = False, picture: bool = False) -> Answer:
        """The faces of a photo's bytes; with `heat` where the network looked, with `picture` the photo itself.

        Refused for a photo that is too large or none, and where too many wait already.
        """
        if len(data) > self.photos.max_megabytes * 1e6:  # before it waits
            raise Refused(f"A photo may have at most {self.photos.max_megabytes:g} MB.", 413)
        with self.turns.turn():
            try:
                photo = Picture(Path(), data=data).pixels(self.photos)
            except UnreadablePhoto as error:
                sentence = f"This photo cannot be used: {error.detail}."
                raise Refused(sentence, STATUS.get(error.reason, 415)) from error
            return self._look(photo, self.current.model, heat, picture)

    def look(self, photo: np.ndarray, model: LoadedModel) -> Answer:
        """The faces of a picture's pixels, (H, W, 3) uint8 RGB, by a model that the caller keeps to; may be Refused."""
        with self.turns.turn():
            return self._look(photo, model, False, False)

    def _look(self, photo: np.ndarray, model: LoadedModel, heat: bool, picture: bool) -> Answer:
        predictor = Predictor(model, self._detector, self.photos)
        found, (height, width) = predictor.find_faces(photo), photo.shape[:2]
        faces = predictor.describe(found.detections, model.probabilities(found.pixels)) if found.detections else []
        maps, note = self._heat(model, faces, found.pixels) if heat and faces else ([], "")
        if found.left_out:
            note = f"{found.left_out:,} smaller faces are not shown."
        if not faces:
            side = self._detector.smallest(height, width)
            note = f"No face found. A face must be seen from the front and be at least {side} x {side} pixels."
        return Answer(model, height, width, faces, maps, note, photo if picture else None)

    def _heat(self, model: LoadedModel, faces: list[FacePrediction], crops: np.ndarray) -> tuple[list[np.ndarray], str]:
        shown = crops[: self.limits.heat_maps]
        classes = np.array([model.spec.classes.index(face.label) for face in faces[: len(shown)]])
        try:
            network = model.network()
            from mien.inference.heatmap import heat_maps

            maps = heat_maps(network, shown, classes)
        except (UserError, ModuleNotFoundError):  # a graph alone, or nothing to look into it with
            return [], "This model cannot show where it looked."
        return [heat_thumbnail(*pair) for pair in zip(shown, maps, strict=True)], ""


def about(model: LoadedModel) -> dict[str, Any]:
    """Which model speaks, and what to know of it: of a folder or file its name, not where on the server it lies."""
    name = model.name if model.version is not None else Path(model.name).name
    warnings = [DRAWN] * model.drawn + [UNCALIBRATED] * (model.spec.temperature is None)
    return {"model": name, "version": model.version, "warnings": warnings}


def has_heat(model: LoadedModel) -> bool:
    """Whether heat maps can be had: a network in PyTorch, and what looks into it."""
    return model.files is not None and all(map(find_spec, ("torch", "captum")))


def face_thumbnail(photo: np.ndarray, box: Box) -> np.ndarray:
    """A square about a face, (144, 144, 3) uint8 RGB."""
    half = max(box.bottom - box.top, box.right - box.left) * 0.55
    y, x = (box.top + box.bottom) / 2, (box.left + box.right) / 2
    by = SIDE / (2 * half)
    affine = np.array([[by, 0, SIDE / 2 - x * by], [0, by, SIDE / 2 - y * by]], np.float32)
    flags = cv2.INTER_AREA if by < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(photo, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def heat_thumbnail(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A face as the network took it, (size, size, C) uint8, with its heat map over it; (144, 144, 3) uint8 RGB."""
    grey = crop[..., 0] if crop.shape[2] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    face = cv2.cvtColor(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    warm = cv2.resize(heat, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (0.25 + 0.5 * warm)[..., None]
    return (face * (1 - share) + colours * share).astype(np.uint8)


def shrunk_to(photo: np.ndarray, longest: int) -> np.ndarray:
    """A picture at most `longest` pixels long, (H, W, 3) uint8 RGB."""
    by = longest / max(photo.shape[:2])
    if by >= 1:
        return photo
    height, width = (max(round(side * by), 1) for side in photo.shape[:2])
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as a JPEG inside an address, so that no picture of a visitor has one of its own."""
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 86])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
