"""Face cropping: boxes, margins and resizing."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from .spec import CutSpec

# A box that stands for the whole photo, where a data set is cropped already.
WHOLE_PHOTO: Final = (-1, -1, -1, -1)


class Box(NamedTuple):
    """A box in the order of ExpW's label file: right stands before bottom."""

    top: int
    left: int
    right: int
    bottom: int

    @property
    def shorter_side(self) -> int:
        """In pixels."""
        return min(self.bottom - self.top, self.right - self.left)


class BoxOutside(Exception):
    """A box of which nothing lies in its photo."""


def face_box(box: Sequence[int], height: int, width: int, *, margin: float, square: bool) -> Box:
    """The part of a photo of `height` x `width` that is cut for a face.

    `margin` is added on each side, as a share of that side; `square` then widens the shorter side about its
    centre, and moves the box into the photo where it fits. What still leaves the photo is clamped. The whole
    photo (WHOLE_PHOTO) stays the whole photo. BoxOutside where nothing of the given box lies in the photo.
    """
    top, left, right, bottom = (int(edge) for edge in box)
    if (top, left, right, bottom) == WHOLE_PHOTO:
        return Box(0, 0, width, height)
    if min(bottom, height) <= max(top, 0) or min(right, width) <= max(left, 0):
        raise BoxOutside(f"box {top} {left} {right} {bottom} lies outside the photo of {width} x {height} pixels")
    add_y, add_x = round(margin * (bottom - top)), round(margin * (right - left))
    top, bottom, left, right = top - add_y, bottom + add_y, left - add_x, right + add_x
    if square:
        side = max(bottom - top, right - left)
        top, bottom = _widen(top, bottom, side, height)
        left, right = _widen(left, right, side, width)
    return Box(max(top, 0), max(left, 0), min(right, width), min(bottom, height))


def _widen(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """`low` to `high` grown to `length` about its centre, and moved into 0 to `limit` where it fits."""
    low -= (length - (high - low)) // 2
    if length <= limit:
        low = min(max(low, 0), limit - length)
    return low, low + length


def cut_face(photo: np.ndarray, box: Box, cut: CutSpec) -> np.ndarray:
    """The face in `box` of a photo (H, W, 3) uint8 RGB or (H, W, 1) grey, as (size, size, C) uint8 in its colour."""
    face = photo[box.top : box.bottom, box.left : box.right]
    if photo.shape[2] != cut.channels:
        face = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY if cut.channels == 1 else cv2.COLOR_GRAY2RGB)
    # Averaged areas do not alias; they cannot enlarge.
    how = cv2.INTER_AREA if box.shorter_side >= cut.size else cv2.INTER_LINEAR
    return cv2.resize(face, (cut.size, cut.size), interpolation=how).reshape(cut.size, cut.size, -1)
