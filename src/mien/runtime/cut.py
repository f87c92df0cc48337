"""Cutting a face out of a photo: boxes, margins and the one resize."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

# A box that stands for the whole photo, where a data set is cropped already.
WHOLE_PHOTO: Final = (-1, -1, -1, -1)
REDUCTIONS: Final = (8, 4, 2)


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

    @property
    def longer_side(self) -> int:
        """In pixels."""
        return max(self.bottom - self.top, self.right - self.left)


class BoxOutside(Exception):
    """A box of which nothing lies in its photo."""


def face_box(box: Sequence[int], height: int, width: int, *, margin: float, square: bool) -> Box:
    """The part of a photo of `height` x `width` that is cut for a face.

    `margin` is added on each side, as a share of that side; `square` then widens the shorter side about its
    centre, and moves the box into the photo where it fits. What still leaves the photo is clamped. The whole
    photo (WHOLE_PHOTO) stays the whole photo.

    Raises:
        BoxOutside: nothing of the given box lies in the photo.
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


def reduction(boxes: Sequence[Box], size: int) -> int:
    """The largest of 8, 4, 2 by which a photo can shrink so that each face keeps `size` pixels, else 1."""
    shortest = min(box.shorter_side for box in boxes)
    return next((by for by in REDUCTIONS if shortest // by >= size), 1)


def reduced_box(box: Box, by: int) -> Box:
    """A box in the photo decoded at 1/`by`: each edge at the nearest pixel, at most half a reduced pixel off."""
    return Box(*((edge + by // 2) // by for edge in box)) if by > 1 else box


def cut_face(photo: np.ndarray, box: Box, size: int, reduced: int = 1) -> np.ndarray:
    """The face in `box` of a photo (H, W, C) uint8, as (size, size, C) uint8.

    Shrinks by averaging areas, which does not alias; enlarges bilinearly.

    Args:
        photo: pixels, decoded at 1/`reduced` of their size.
        box: in pixels of the whole photo.
        size: pixels of each side of the face.
        reduced: 1, 2, 4 or 8.
    """
    small = reduced_box(box, reduced)
    if reduced > 1 and small.longer_side < 2 * size:
        return _cut_between_pixels(photo, box, size, reduced)
    face = photo[small.top : small.bottom, small.left : small.right]
    how = cv2.INTER_AREA if small.shorter_side >= size else cv2.INTER_LINEAR
    return cv2.resize(face, (size, size), interpolation=how).reshape(size, size, -1)


def _cut_between_pixels(photo: np.ndarray, box: Box, size: int, reduced: int) -> np.ndarray:
    """Bilinear, with edges where they fall between the pixels of the reduced photo.

    At the nearest pixel instead, faces would move by up to half a pixel of the result; here faces are shrunk by
    less than 2, at which bilinear does not alias.
    """
    top, left, right, bottom = (edge / reduced for edge in box)
    step_x, step_y = (right - left) / size, (bottom - top) / size
    to_photo = np.array([[step_x, 0, left + (step_x - 1) / 2], [0, step_y, top + (step_y - 1) / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    face = cv2.warpAffine(photo, to_photo, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return face.reshape(size, size, -1)
