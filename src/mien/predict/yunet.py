"""Faces found by YuNet, a small network that OpenCV runs."""

import threading
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from mien.errors import UserError
from mien.predict.detection import Detection, box_in_photo, left_to_right, shrunk, times_smaller

LEARNT: Final = 10  # pixels: its publisher says that it learnt faces of about 10 to 300
HIGHER: Final = 0.06  # of the height
OVERLAP: Final = 0.3  # of two boxes, from which they are one face: its publisher's
MOST: Final = 5000  # candidates of a photo, before those of one face are made one


class YuNetDetector:
    """YuNet (Wu, Peng and Yu, 2023), which finds faces in profile, tilted and half covered too.

    A photo is searched at most `longest` pixels long: faces that fill it are then no larger than those that the
    network learnt from, and small ones are not yet lost.
    """

    name = "YuNet"

    def __init__(self, file: Path, *, min_score: float = 0.7, smallest: int = 40, longest: int = 640) -> None:
        self._network = _read(file, min_score)
        self._lock = threading.Lock()  # the network keeps the size of the photo that it is shown
        self._smallest = smallest
        self._longest = longest

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right."""
        by = times_smaller(photo.shape[0], photo.shape[1], self._longest)
        turned = cv2.COLOR_GRAY2BGR if photo.shape[2] == 1 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(shrunk(photo, by), turned)
        with self._lock:
            self._network.setInputSize((pixels.shape[1], pixels.shape[0]))
            _, rows = self._network.detect(pixels)
        found = [
            Detection(box_in_photo(*as_annotated(x, y, w, h), by, photo), min(float(score), 1.0))
            for x, y, w, h, *_, score in ([] if rows is None else rows)
            if np.isfinite((x, y, w, h)).all()  # in noise and in photos of a few pixels it finds infinite faces
        ]
        return left_to_right(one for one in found if one.box.shorter_side >= self._smallest)

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        return max(self._smallest, round(LEARNT * times_smaller(height, width, self._longest)))


def as_annotated(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
    """A square around the face, as the field's data sets draw it, in place of YuNet's narrow and tall box.

    The square is as high as YuNet's box and lies a little higher: the median of ExpW's own boxes (docs/FACES.md). So
    too a face is not pressed out of shape on its way into a square network.
    """
    return x + w / 2 - h / 2, y - HIGHER * h, h, h


def _read(file: Path, min_score: float) -> cv2.FaceDetectorYN:
    try:
        return cv2.FaceDetectorYN.create(str(file), "", (320, 320), min_score, OVERLAP, MOST)
    except cv2.error as error:
        raise UserError(f"{file}: is no YuNet network that OpenCV can read.") from error
