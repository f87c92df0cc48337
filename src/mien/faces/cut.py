"""The one resize of faces, used in training and in prediction alike."""

import cv2
import numpy as np

from mien.faces.geometry import Box, reduced_box


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
