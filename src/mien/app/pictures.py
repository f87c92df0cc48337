"""Inline pictures in the page's HTML, so that no picture of a visitor has a URL."""

import base64
from typing import Final

import cv2
import numpy as np

from mien.app.answers import Answer
from mien.runtime.cut import Box
from mien.runtime.decode import decode_photo

LONGEST: Final = 1280  # pixels of the photo as it is shown
SIDE: Final = 144  # pixels of a face as it is shown; twice of what CSS gives it, for sharp screens
QUALITY: Final = 86


def shown_photo(data: bytes, answer: Answer, max_megapixels: float) -> np.ndarray:
    """The photo of an answer in colour, at most 1,280 pixels long, (H, W, 3) uint8 RGB."""
    photo = decode_photo(data, max_megapixels=max_megapixels)
    return _at_most(photo, LONGEST)


def face_thumbnail(photo: np.ndarray, height: int, box: Box) -> np.ndarray:
    """A square about a face, (144, 144, 3) uint8 RGB, cut from a photo that was `height` pixels high."""
    by = photo.shape[0] / height
    half = max(box.bottom - box.top, box.right - box.left) * by * 0.55
    y, x = (box.top + box.bottom) / 2 * by, (box.left + box.right) / 2 * by
    affine = np.array([[SIDE / (2 * half), 0, SIDE / 2 - x * SIDE / (2 * half)],
                       [0, SIDE / (2 * half), SIDE / 2 - y * SIDE / (2 * half)]], np.float32)  # fmt: skip
    flags = cv2.INTER_AREA if half > SIDE / 2 else cv2.INTER_LINEAR
    return cv2.warpAffine(photo, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def heat_thumbnail(crop: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A face as the network took it, (size, size, C) uint8, with its heat map over it; (144, 144, 3) uint8 RGB."""
    grey = crop[..., 0] if crop.shape[2] == 1 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    face = cv2.cvtColor(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    warm = cv2.resize(heat, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (0.25 + 0.5 * warm)[..., None]
    return (face * (1 - share) + colours * share).astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB as a JPEG inside an address."""
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _at_most(photo: np.ndarray, longest: int) -> np.ndarray:
    by = longest / max(photo.shape[:2])
    if by >= 1:
        return photo
    height, width = (max(round(side * by), 1) for side in photo.shape[:2])
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
