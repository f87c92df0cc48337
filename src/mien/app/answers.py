"""Answers to a visitor's photo, within the limits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.app.limits import AppConfig
from mien.app.turns import Refused, Turns
from mien.base.errors import UserError
from mien.inference.classifier import LoadedModel
from mien.inference.current import CurrentModel
from mien.inference.detectors import PredictConfig
from mien.inference.picture import Picture
from mien.inference.predictor import FacePrediction, FoundFaces, Predictor
from mien.runtime.decode import UnreadablePhoto
from mien.sources.detect import Detector

STATUS = {"too_large": 413, "empty_file": 400}  # of photos that cannot be used; the others are no photos: 415


@dataclass(frozen=True)
class Answer:
    """What one photo gave."""

    model: LoadedModel  # that answered
    height: int  # of the photo, in pixels
    width: int
    faces: list[FacePrediction]
    crops: np.ndarray  # (N, size, size, C) uint8, as the network took them
    heat: np.ndarray | None = None  # (M, size, size) float32 from 0 to 1, of the first M faces; None: none
    note: str = ""  # a sentence, such as why there is no face


class Answerer:
    """Answers photos with the model of the moment, at most `at_once` of them at the same time."""

    def __init__(self, current: CurrentModel, detector: Detector, photos: PredictConfig, limits: AppConfig) -> None:
        self.current = current
        self.photos = photos
        self.limits = limits
        self.turns = Turns(limits.at_once, limits.queue, limits.wait_seconds)
        self._detector = detector

    def answer(self, data: bytes, *, heat: bool = False) -> Answer:
        """The faces of a photo's bytes; with `heat`, where the network looked in the first of them.

        Raises:
            Refused: the photo is too large, no photo, or too many wait already.
        """
        if len(data) > self.photos.max_megabytes * 1e6:  # before it waits
            raise Refused(f"A photo may have at most {self.photos.max_megabytes:g} MB.", 413)
        with self.turns.turn():
            predictor = Predictor(self.current.model, self._detector, self.photos)
            return self._look(predictor, _decoded(predictor, data), heat)

    def look(self, photo: np.ndarray, model: LoadedModel) -> Answer:
        """The faces of a picture's pixels, (H, W, 3) uint8 RGB, by a model that the caller keeps to.

        Raises:
            Refused: too many wait already.
        """
        with self.turns.turn():
            return self._look(Predictor(model, self._detector, self.photos), photo, False)

    def _look(self, predictor: Predictor, photo: np.ndarray, heat: bool) -> Answer:
        found = predictor.find_faces(photo)
        model, (height, width) = predictor.model, photo.shape[:2]
        if not found.detections:
            side = self._detector.smallest(height, width)
            note = f"No face found. A face must be seen from the front and be at least {side} x {side} pixels."
            return Answer(model, height, width, [], found.pixels, note=note)
        faces = predictor.describe(found.detections, predictor.model.probabilities(found.pixels))
        maps, note = self._heat(model, faces, found.pixels) if heat else (None, "")
        return Answer(model, height, width, faces, found.pixels, maps, _left_out(found) or note)

    def _heat(
        self, model: LoadedModel, faces: list[FacePrediction], crops: np.ndarray
    ) -> tuple[np.ndarray | None, str]:
        from mien.inference.heatmap import heat_maps

        shown = crops[: self.limits.heat_maps]
        classes = np.array([model.spec.classes.index(face.label) for face in faces[: len(shown)]])
        try:
            return heat_maps(model.network(), shown, classes), ""
        except UserError:  # a model in a form that cannot be looked into
            return None, "This model cannot show where it looked."


def _left_out(found: FoundFaces) -> str:
    return f"{found.left_out:,} smaller faces are not shown." if found.left_out else ""


def _decoded(predictor: Predictor, data: bytes) -> np.ndarray:
    try:
        return Picture(Path(), data=data).pixels(predictor.settings)
    except UnreadablePhoto as error:
        raise Refused(f"This photo cannot be used: {error.detail}.", STATUS.get(error.reason, 415)) from error
