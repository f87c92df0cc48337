"""A visitor's photo to an answer: within the limits, a few at once, with sentences where there is none."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from mien.app.settings import AppConfig
from mien.errors import UserError
from mien.faces.decode import UnreadablePhoto, decode_photo
from mien.predict.current import CurrentModel
from mien.predict.detect import Detector
from mien.predict.loaded import LoadedModel
from mien.predict.predictor import FacePrediction, Predictor
from mien.predict.settings import PredictConfig


class Refused(UserError):
    """What a visitor gave cannot be answered: a sentence for the visitor, and its HTTP status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """What one photo gave."""

    model: LoadedModel  # that answered
    photo: np.ndarray  # (H, W, 3) uint8 RGB
    faces: list[FacePrediction]
    crops: np.ndarray  # (N, size, size, C) uint8, as the network took them
    heat: np.ndarray | None = None  # (M, size, size) float32 from 0 to 1, of the first M faces; None: not asked
    note: str = ""  # a sentence, such as why there is no face
    at_most: float = field(default=0.5, kw_only=True)  # a likeliest expression below this is unsure

    def sure(self, face: FacePrediction) -> bool:
        """Whether the likeliest expression is likely enough to be called the answer."""
        return face.probabilities[face.label] >= self.at_most


class Answerer:
    """Answers photos with the model of the moment, at most `at_once` of them at the same time."""

    def __init__(self, current: CurrentModel, detector: Detector, photos: PredictConfig, limits: AppConfig) -> None:
        self.current = current
        self.photos = photos
        self.limits = limits
        self._detector = detector
        self._turns = threading.BoundedSemaphore(limits.at_once)
        self._waiting = 0
        self._count = threading.Lock()

    def answer(self, data: bytes, *, heat: bool = False) -> Answer:
        """The faces of a photo's bytes; with `heat`, where the network looked in the first of them.

        Raises:
            Refused: the photo is too large, no photo, or too many wait already.
        """
        if len(data) > self.photos.max_megabytes * 1e6:
            raise Refused(f"A photo may have at most {self.photos.max_megabytes:g} MB.", 413)
        with self.turn():
            return self.look(self._decoded(data), heat=heat)

    def look(self, photo: np.ndarray, *, heat: bool = False) -> Answer:
        """The faces of a photo (H, W, 3) uint8 RGB; the caller has its turn already."""
        predictor = Predictor(self.current.model, self._detector)
        boxes, crops = predictor.find_faces(photo)
        faces = predictor.describe(boxes, predictor.predict_faces(crops)) if boxes else []
        side = self._detector.smallest(*photo.shape[:2])
        note = "" if faces else f"No face found; a face needs at least {side} × {side} pixels here, seen from the front."
        maps, why = self._heat(predictor.model, faces, crops) if heat and faces else (None, "")
        return Answer(predictor.model, photo, faces, crops, maps, note or why, at_most=self.photos.unsure_below)

    def _heat(
        self, model: LoadedModel, faces: list[FacePrediction], crops: np.ndarray
    ) -> tuple[np.ndarray | None, str]:
        from mien.predict.heatmap import heat_maps

        shown = crops[: self.limits.heat_maps]
        classes = np.array([model.spec.classes.index(face.label) for face in faces[: len(shown)]])
        try:
            return heat_maps(model, shown, classes), ""
        except UserError:  # the model is in no form that can be looked into
            return None, "This model cannot show where it looked."

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one of the places in which photos are computed.

        Raises:
            Refused: too many wait already, or the wait was too long.
        """
        with self._count:
            if self._waiting >= self.limits.queue + self.limits.at_once:
                raise _busy()
            self._waiting += 1
        try:
            if not self._turns.acquire(timeout=self.limits.wait_seconds):
                raise _busy()
            try:
                yield
            finally:
                self._turns.release()
        finally:
            with self._count:
                self._waiting -= 1

    def _decoded(self, data: bytes) -> np.ndarray:
        """The pixels in colour, whatever the network takes: a visitor sees them again."""
        try:
            return decode_photo(
                data, colour="rgb", max_megapixels=self.photos.max_megapixels, apply_exif_rotation=True
            )
        except UnreadablePhoto as error:
            raise Refused(f"This photo cannot be used: {error.detail}.", _status(error.reason)) from error


def _status(reason: str) -> int:
    return {"too_large": 413, "empty_file": 400}.get(reason, 415)


def _busy() -> Refused:
    return Refused("Too many photos at once; please try again in a moment.", 503)
