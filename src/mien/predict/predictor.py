"""Photo in, expressions out: detect, cut as in training, one batch through the network, calibrated probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from mien.faces.cut import cut_face
from mien.faces.decode import decode_photo
from mien.faces.geometry import Box, face_box
from mien.predict.detection import Detection, Detector, largest_of
from mien.predict.detectors import build_detector
from mien.predict.loaded import LoadedModel, load_folder
from mien.predict.settings import PredictConfig


@dataclass(frozen=True)
class FacePrediction:
    """One face of a photo."""

    box: Box  # as the detector found it, in pixels of the photo
    label: str  # the most probable expression
    probabilities: dict[str, float]  # of each class, in the model's order; they add up to 1
    score: float | None = None  # the detector's, from 0 to 1; None: it gives none
    unsure: bool = False  # the label's probability is below `unsure_below`

    def as_json(self, number: int) -> dict[str, Any]:
        """The face as programs read it; the box is top, left, right, bottom in pixels of the photo as it is shown."""
        return {
            "face": number,
            "box": list(self.box),
            "score": self.score,
            "label": self.label,
            "unsure": self.unsure,
            "probabilities": self.probabilities,
        }


@dataclass(frozen=True)
class FoundFaces:
    """The faces of a photo, before anything is predicted."""

    detections: list[Detection]  # from left to right
    pixels: np.ndarray  # (N, size, size, C) uint8, as the network takes them
    left_out: int = 0  # faces beyond `max_faces`, the smallest ones


class Predictor:
    """A model behind a face detector.

    Faces are cut by the very functions that cut the training's faces, so a face with the same box gives the
    same pixels, whoever asks: command line, web page, video.
    """

    def __init__(
        self, model: LoadedModel, detector: Detector | None = None, settings: PredictConfig | None = None
    ) -> None:
        self.model = model
        self.settings = settings or PredictConfig()
        self.detector = detector or build_detector(self.settings)

    @classmethod
    def from_folder(cls, folder: Path, temperature: float | None = None, detector: Detector | None = None) -> Self:
        """A predictor from the train stage's folder, or from a registered model's files.

        Raises:
            UserError: no model is there, or it cannot be read.
        """
        return cls(load_folder(folder, temperature=temperature), detector)

    @classmethod
    def from_uri(cls, uri: str, detector: Detector | None = None) -> Self:
        """A predictor from `models:/NAME@ALIAS` or `models:/NAME/VERSION`, in the tracking store that is set.

        It runs the registered weights with this version's code; `served.py` runs them with the code they were
        registered with.

        Raises:
            NoSuchModel: there is no such model, alias or version.
            UserError: the store cannot be reached, or the model's files cannot be read.
        """
        from mien.predict.registered import load_registered

        return cls(load_registered(uri), detector)

    def decode(self, data: bytes) -> np.ndarray:
        """A photo's pixels as the network wants them: (H, W, 3) uint8 RGB, or (H, W, 1) for a grey network.

        The EXIF rotation is applied: people's photos are meant as viewers show them.

        Raises:
            UnreadablePhoto: no image, broken off, or above `max_megapixels`.
        """
        return decode_photo(
            data,
            colour=self.model.spec.colour,
            max_megapixels=self.settings.max_megapixels,
            apply_exif_rotation=True,
        )

    def predict_photo(self, photo: np.ndarray) -> list[FacePrediction]:
        """The faces of a whole photo (H, W, 3) uint8 RGB or (H, W, 1) grey, from left to right; none: []."""
        found = self.find_faces(photo)
        return self.describe(found.detections, self.predict_faces(found.pixels))

    def find_faces(self, photo: np.ndarray) -> FoundFaces:
        """The faces that the detector finds, the largest `max_faces` of them, cut as the network takes them."""
        everything = self.detector.detect(photo)
        kept = largest_of(everything, self.settings.max_faces)
        return FoundFaces(kept, self.cut(photo, [found.box for found in kept]), len(everything) - len(kept))

    def whole_face(self, photo: np.ndarray) -> FoundFaces:
        """As `find_faces`, for a photo that is one face already."""
        box = Box(0, 0, photo.shape[1], photo.shape[0])
        face = cut_face(self._in_colour(photo), box, self.model.spec.size)
        return FoundFaces([Detection(box)], face[None])

    def cut(self, photo: np.ndarray, boxes: Sequence[Sequence[int]]) -> np.ndarray:
        """Faces in boxes (top, left, right, bottom), cut as in training: (N, size, size, C) uint8.

        Raises:
            BoxOutside: nothing of a box lies in the photo.
        """
        spec = self.model.spec
        height, width = photo.shape[:2]
        pixels = self._in_colour(photo)
        placed = [face_box(box, height, width, margin=spec.margin, square=spec.square) for box in boxes]
        faces = [cut_face(pixels, box, spec.size) for box in placed]
        return np.stack(faces) if faces else np.empty((0, spec.size, spec.size, spec.channels), np.uint8)

    def predict_faces(self, faces: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, classes) float64 of faces (N, size, size, C) uint8, as `cut` gives them."""
        return self.model.probabilities(faces)

    def predict_each(self, found: Sequence[FoundFaces]) -> list[np.ndarray]:
        """Probabilities (N, classes) float64 for each of several photos' faces, which share a batch."""
        probabilities = self.predict_faces(np.concatenate([faces.pixels for faces in found]))
        ends = np.cumsum([len(faces.detections) for faces in found])
        return np.split(probabilities, ends[:-1])

    def _in_colour(self, photo: np.ndarray) -> np.ndarray:
        """The photo with as many channels as the network takes."""
        channels = photo.shape[2]
        if channels == self.model.spec.channels:
            return photo
        if channels == 3:
            return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[..., None]
        return np.repeat(photo, 3, axis=2)

    def describe(self, detections: Sequence[Detection], probabilities: np.ndarray) -> list[FacePrediction]:
        """A prediction for each face, from its row of probabilities (N, classes)."""
        names = self.model.spec.classes
        return [
            FacePrediction(
                found.box,
                label=names[int(row.argmax())],
                probabilities=dict(zip(names, row.tolist(), strict=True)),
                score=found.score,
                unsure=bool(row.max() < self.settings.unsure_below),
            )
            for found, row in zip(detections, probabilities, strict=True)
        ]
