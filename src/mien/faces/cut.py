"""The one resize of faces, used in training and in prediction alike."""

import cv2
import numpy as np

from mien.faces.geometry import Box


def cut_face(photo: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The face in `box` of a photo (H, W, C) uint8, as (size, size, C) uint8.

    Shrinks by averaging areas, which does not alias; enlarges bilinearly.
    """
    face = photo[box.top : box.bottom, box.left : box.right]
    how = cv2.INTER_AREA if box.shorter_side >= size else cv2.INTER_LINEAR
    return cv2.resize(face, (size, size), interpolation=how).reshape(size, size, -1)
