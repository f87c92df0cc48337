"""A picture that comes as an array or as nested lists, as JSON carries it, instead of as a file."""

from typing import Any, Final

import cv2
import numpy as np

from mien.faces.decode import UnreadablePhoto

SHAPES: Final = "H x W, H x W x 1 or H x W x 3"


def as_photo(value: Any, *, colour: str, max_megapixels: float) -> np.ndarray:
    """The picture as `decode_photo` gives one: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 where `colour` is "grey".

    Args:
        value: (H, W) or (H, W, 1) grey, or (H, W, 3) RGB, of whole numbers from 0 to 255; floats such as 12.0 are
            whole. An array or nested lists.
        colour: "rgb" or "grey"; the values are converted where they are the other, as a file's are.
        max_megapixels: the most that is taken.

    Raises:
        UnreadablePhoto: `too_large`, or `not_an_image`: another shape, or values that are no pixels.
    """
    try:
        pixels = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:  # rows of several lengths, for one
        raise UnreadablePhoto("not_an_image", f"the rows are not equally long; it must be {SHAPES}") from error
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise UnreadablePhoto("not_an_image", f"the shape is {_shown(pixels.shape)}; it must be {SHAPES}")
    height, width, channels = pixels.shape
    if height * width > max_megapixels * 1e6:
        raise UnreadablePhoto("too_large", f"{width} x {height} pixels are more than {max_megapixels:g} megapixels")
    photo = np.ascontiguousarray(_whole_bytes(pixels))
    if colour == "grey":
        return photo if channels == 1 else _as_files_turn_grey(photo)
    return photo if channels == 3 else np.repeat(photo, 3, axis=2)


def _as_files_turn_grey(photo: np.ndarray) -> np.ndarray:
    """Reading a PNG as grey rounds otherwise than `cvtColor`, and an array is to answer as its PNG does."""
    file = cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 0])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE))[..., None]


def _whole_bytes(pixels: np.ndarray) -> np.ndarray:
    """The values as uint8, none of them changed by that."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind not in "iuf":
        raise UnreadablePhoto("not_an_image", "the pixels are no numbers; they must be whole, from 0 to 255")
    with np.errstate(invalid="ignore"):  # NaN and infinity are refused below
        taken = pixels.astype(np.uint8)
    if not np.array_equal(taken, pixels):
        raise UnreadablePhoto("not_an_image", "the pixels must be whole numbers from 0 to 255")
    return taken


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "that of a single value"
