"""Photo files to predictions: faces of several photos share a batch, and a photo that fails stops no other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from mien.faces.decode import UnreadablePhoto
from mien.predict.photo_file import read_photo
from mien.predict.predictor import FacePrediction, FoundFaces, Predictor
from mien.printable import printable

PHOTOS_A_BATCH: Final = 32


@dataclass
class PhotoPrediction:
    """What a photo gave: at least one face, or a sentence that says why there is none."""

    file: Path
    faces: list[FacePrediction] = field(default_factory=list)
    problem: str = ""
    left_out: int = 0  # faces beyond `max_faces`, the smallest ones


def predict_files(predictor: Predictor, files: Iterable[Path], *, cropped: bool) -> Iterator[PhotoPrediction]:
    """One prediction for each file, in their order; with `cropped` each photo is taken as one face already."""
    waiting = iter(files)
    while some := list(islice(waiting, PHOTOS_A_BATCH)):
        found = [_find(predictor, file, cropped) for file in some]
        probabilities = predictor.predict_faces(np.concatenate([faces.pixels for _, faces in found]))
        start = 0
        for prediction, faces in found:
            end = start + len(faces.detections)
            prediction.faces = predictor.describe(faces.detections, probabilities[start:end])
            start = end
            yield prediction


def _find(predictor: Predictor, file: Path, cropped: bool) -> tuple[PhotoPrediction, FoundFaces]:
    """A photo's faces, before any expression is predicted."""
    none = FoundFaces([], predictor.cut(np.zeros((1, 1, predictor.model.spec.channels), np.uint8), []))
    try:
        photo = predictor.decode(read_photo(file, predictor.settings.max_megabytes))
    except UnreadablePhoto as error:
        return PhotoPrediction(file, problem=f"{printable(file)}: cannot be used: {error.detail}."), none
    except OSError as error:
        return PhotoPrediction(file, problem=f"{printable(file)}: cannot be read: {error.strerror}."), none
    found = predictor.whole_face(photo) if cropped else predictor.find_faces(photo)
    problem = "" if found.detections else f"{printable(file)}: {_no_face(predictor, photo)}"
    return PhotoPrediction(file, problem=problem, left_out=found.left_out), found


def _no_face(predictor: Predictor, photo: np.ndarray) -> str:
    side = predictor.detector.smallest(*photo.shape[:2])
    return (
        f"no face found ({predictor.detector.name}, at least {side} x {side} pixels); "
        "try --cropped if the photo is a face already."
    )
