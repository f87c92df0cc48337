"""What a face detector answers, and what the predictor needs to know of any of them."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from mien.faces.geometry import Box


class Detection(NamedTuple):
    """A face that was found."""

    box: Box  # in pixels of the photo, in which it lies
    score: float | None = None  # from 0 to 1; None: the detector gives none


class Detector(Protocol):
    """Finds faces; several threads may ask at once."""

    name: str  # for people

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; boxes lie in the photo."""
        ...

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        ...


def left_to_right(detections: Iterable[Detection]) -> list[Detection]:
    """In the order in which people number faces."""
    return sorted(detections, key=lambda found: (found.box.left, found.box.top))


def largest_of(detections: list[Detection], most: int) -> list[Detection]:
    """The `most` largest faces, in the order in which they came."""
    kept = sorted(range(len(detections)), key=lambda at: -detections[at].box.shorter_side)[:most]
    return [detections[at] for at in sorted(kept)]


def times_smaller(height: int, width: int, longest: int) -> float:
    """By what a photo is divided to be at most `longest` pixels long; 1 where it is already."""
    return max(height, width, longest) / longest


def shrunk(photo: np.ndarray, by: float) -> np.ndarray:
    """A photo (H, W[, C]) divided by `by`, its areas averaged, and at least a pixel high and wide."""
    if by <= 1:
        return photo
    height, width = photo.shape[:2]
    size = (max(round(width / by), 1), max(round(height / by), 1))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def box_in_photo(x: float, y: float, w: float, h: float, by: float, photo: np.ndarray) -> Box:
    """The part in the whole photo of x, y, width and height in the photo divided by `by`."""
    height, width = photo.shape[:2]
    top, left, right, bottom = (round(float(edge) * by) for edge in (y, x, x + w, y + h))
    return Box(max(top, 0), max(left, 0), min(right, width), min(bottom, height))
