"""Pictures to predictions: faces of several share a batch, and a picture that fails stops no other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Self

import numpy as np

from mien.faces.decode import UnreadablePhoto
from mien.predict.picture import Picture
from mien.predict.predictor import FacePrediction, FoundFaces, Predictor

PHOTOS_A_BATCH: Final = 32


@dataclass
class PhotoPrediction:
    """What a picture gave: at least one face, or a sentence that says why there is none."""

    picture: Picture
    faces: list[FacePrediction] = field(default_factory=list)
    problem: str = ""
    left_out: int = 0  # faces beyond `max_faces`, the smallest ones

    def without_frame(self) -> Self:
        """The same without a video's pixels, of which many would fill the memory."""
        return replace(self, picture=replace(self.picture, frame=None))


def predict_pictures(
    predictor: Predictor, pictures: Iterable[Picture], *, cropped: bool = False
) -> Iterator[PhotoPrediction]:
    """One prediction for each picture, in their order; with `cropped` each is taken as one face already."""
    waiting = iter(pictures)
    while some := list(islice(waiting, PHOTOS_A_BATCH)):
        found = [_find(predictor, picture, cropped) for picture in some]
        each = predictor.predict_each([faces for _, faces in found])
        for (prediction, faces), probabilities in zip(found, each, strict=True):
            prediction.faces = predictor.describe(faces.detections, probabilities)
            yield prediction


def _find(predictor: Predictor, picture: Picture, cropped: bool) -> tuple[PhotoPrediction, FoundFaces]:
    """A picture's faces, before any expression is predicted."""
    none = FoundFaces([], predictor.cut(np.zeros((1, 1, predictor.model.spec.channels), np.uint8), []))
    try:
        photo = picture.pixels(predictor.model.spec.colour, predictor.settings)
    except UnreadablePhoto as error:
        return PhotoPrediction(picture, problem=f"{picture.says}: cannot be used: {error.detail}."), none
    except OSError as error:
        return PhotoPrediction(picture, problem=f"{picture.says}: cannot be read: {error.strerror}."), none
    found = predictor.whole_face(photo) if cropped else predictor.find_faces(photo)
    problem = "" if found.detections else f"{picture.says}: {no_face(predictor, photo)}"
    return PhotoPrediction(picture, problem=problem, left_out=found.left_out), found


def no_face(predictor: Predictor, photo: np.ndarray) -> str:
    """Why there may be no face in a photo (H, W, C), as the end of a sentence."""
    side = predictor.detector.smallest(*photo.shape[:2])
    return (
        f"no face found ({predictor.detector.name}, at least {side} x {side} pixels); "
        "try --cropped if the photo is a face already."
    )
