"""FER2013's pixel strings to pixels, checked value by value at the speed of NumPy's own parser."""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np

from mien.sources.bad_row import BadRow

SIDE: Final = 48  # pixels; a face is SIDE x SIDE
VALUES: Final = SIDE * SIDE
BRIGHTEST: Final = 255


def parse_pixels(texts: Sequence[bytes]) -> tuple[np.ndarray, dict[int, BadRow]]:
    """Pixel strings as (len(texts), 2304) uint8, and by position those that are none, whose pixels are 0.

    A string is 2,304 whole numbers from 0 to 255, separated by blanks. NumPy's parser says nothing when a number
    is too large for its type or when it meets what is no number; each face written out again must therefore be as
    long as its string. Where that is not so, as with two blanks or leading zeros, the strings are read one by one.
    """
    at_once = _parse_at_once(texts)
    if at_once is not None:
        return at_once, {}
    pixels = np.zeros((len(texts), VALUES), np.uint8)
    bad: dict[int, BadRow] = {}
    for position, text in enumerate(texts):
        try:
            pixels[position] = _parse_one(text)
        except BadRow as error:
            bad[position] = error
    return pixels, bad


def _parse_at_once(texts: Sequence[bytes]) -> np.ndarray | None:
    """All strings' pixels, or None where one of them is not written plainly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # how NumPy 2 says that it met what is no number
        try:
            # 16 bits, since in 8 a number from 256 on would become another one of as many digits
            values = np.fromstring(b" ".join(texts), np.int16, sep=" ")
        except (DeprecationWarning, ValueError):
            return None
    if values.size != len(texts) * VALUES or (values.size and (values.min() < 0 or values.max() > BRIGHTEST)):
        return None
    pixels = values.astype(np.uint8).reshape(-1, VALUES)
    # row by row: along an axis, count_nonzero is twice as slow
    longer = zip(pixels > 9, pixels > 99, strict=True)
    further = [np.count_nonzero(two) + np.count_nonzero(three) for two, three in longer]
    plain = 2 * VALUES - 1  # one digit each, and the blanks between them
    return pixels if all(plain + n == len(text) for n, text in zip(further, texts, strict=True)) else None


def _parse_one(text: bytes) -> list[int]:
    values = text.split()
    if len(values) != VALUES:
        raise BadRow("wrong_pixel_count", f"{len(values):,} pixel values where {SIDE} x {SIDE} = {VALUES:,} are needed")
    for position, value in enumerate(values, start=1):
        if not (value.isdigit() and len(value) <= 9 and int(value) <= BRIGHTEST):
            shown = value[:20].decode("utf-8", "replace")
            raise BadRow("bad_pixel", f"pixel {position} is {shown!r}, no whole number from 0 to {BRIGHTEST}")
    return [int(value) for value in values]
