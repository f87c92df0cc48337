"""Where the faces of a photo are."""

import threading
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from mien.errors import UserError
from mien.faces.geometry import Box

CASCADE: Final = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"


class Detector(Protocol):
    """Finds faces; what the predictor needs to know of any face detector."""

    name: str  # for people

    def detect(self, photo: np.ndarray) -> list[Box]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; boxes lie in the photo."""
        ...

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        ...


class HaarDetector:
    """A cascade of boosted Haar-like features (Viola and Jones, 2001; with trees: Lienhart and Maydt, 2002).

    Of OpenCV's four frontal cascades and the usual settings this one found the most faces in group photos for
    the fewest other places; `haarcascade_frontalface_default` also finds faces in dogs. Faces in profile and
    tilted heads are often missed.

    A photo is searched at most `longest` pixels long, because the time grows with the number of pixels.
    """

    name = "Haar cascade"

    def __init__(
        self, *, scale_step: float = 1.06, neighbours: int = 3, smallest: int = 40, longest: int = 2000
    ) -> None:
        if scale_step <= 1 or neighbours < 1 or smallest < 20 or longest < smallest:
            raise ValueError(
                f"scale_step ({scale_step}) must be above 1, neighbours ({neighbours}) at least 1, smallest "
                f"({smallest}) at least the cascade's 20 pixels, longest ({longest}) at least smallest"
            )
        self._cascade = cv2.CascadeClassifier(str(CASCADE))
        if self._cascade.empty():
            raise UserError(f"{CASCADE} is missing: install opencv-python-headless below version 5, which has none.")
        self._lock = threading.Lock()  # OpenCV's cascade keeps its state while it searches
        self._scale_step = scale_step
        self._neighbours = neighbours
        self._smallest = smallest
        self._longest = longest

    def detect(self, photo: np.ndarray) -> list[Box]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; boxes lie in the photo."""
        height, width = photo.shape[:2]
        shrink = self._shrink(height, width)
        grey = photo[..., 0] if photo.shape[2] == 1 else cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        if shrink > 1:
            size = (max(round(width / shrink), 1), max(round(height / shrink), 1))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        side = (self._smallest, self._smallest)
        with self._lock:
            found = self._cascade.detectMultiScale(
                np.ascontiguousarray(grey), self._scale_step, self._neighbours, minSize=side
            )
        boxes = [_box(x, y, w, h, shrink, height, width) for x, y, w, h in found]
        return sorted(boxes, key=lambda box: (box.left, box.top))

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        return round(self._smallest * self._shrink(height, width))

    def _shrink(self, height: int, width: int) -> float:
        return max(height, width, self._longest) / self._longest


def _box(x: int, y: int, w: int, h: int, shrink: float, height: int, width: int) -> Box:
    """OpenCV's x, y, width and height in the shrunk photo as a box in the whole one."""
    top, left, right, bottom = (round(edge * shrink) for edge in (y, x, x + w, y + h))
    return Box(top, left, min(right, width), min(bottom, height))
