"""Face boxes drawn into pictures, each with a tag for its expression and probability."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mien.runtime.cut import Box

# Okabe & Ito (2008), distinct for every colour vision; a class of another name gets OTHER.
COLOURS: Final = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "sad": "#0072b2",
    "surprise": "#e69f00",
    "neutral": "#c8c8c8",
}
OTHER: Final = "#56b4e9"
READABLE: Final = 480  # pixels: a smaller picture is enlarged before it is drawn on
SMALLEST_TEXT: Final = 13  # pixels


def draw_faces(picture: np.ndarray, faces: Sequence[tuple[Box, str, str]]) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8 RGB with a box and a tag for each (box, text, expression).

    The text's size follows the picture's and the face's; a picture below 480 pixels is enlarged by a whole number.
    """
    longest = max(picture.shape[:2])
    by = -(-READABLE // longest)
    drawn = cv2.resize(picture, None, fx=by, fy=by, interpolation=cv2.INTER_CUBIC) if by > 1 else picture.copy()
    draw_into(drawn, [(Box(*(edge * by for edge in box)), text, expression) for box, text, expression in faces])
    return drawn


def draw_into(picture: np.ndarray, faces: Sequence[tuple[Box, str, str]]) -> None:
    """Draw a box and a tag for each (box, text, expression) into a picture (H, W, 3) uint8 RGB, as large as it is."""
    longest = max(picture.shape[:2])
    smallest = max(SMALLEST_TEXT, longest // 90)
    line = max(2, round(longest / 500))
    for box, _, expression in faces:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(picture, *corners, (0, 0, 0), line + 2)
        cv2.rectangle(picture, *corners, ImageColor.getrgb(COLOURS.get(expression, OTHER))[:3], line)
    taken: list[Box] = []
    for box, text, expression in faces:
        size = min(max((box.right - box.left) // 6, smallest), 3 * smallest)
        tag = _tag(text, COLOURS.get(expression, OTHER), size)[: picture.shape[0], : picture.shape[1]]
        place = _place(tag, box, picture, taken)
        picture[place.top : place.bottom, place.left : place.right] = tag
        taken.append(place)


def _place(tag: np.ndarray, box: Box, picture: np.ndarray, taken: list[Box]) -> Box:
    """Above the face, below it or in it: the first place in the picture that hides no other tag, if there is one."""
    (height, width), (tall, wide) = picture.shape[:2], tag.shape[:2]
    left = min(max(box.left, 0), width - wide)
    tops = [top for top in (box.top - tall, box.bottom, box.top, box.bottom - tall) if 0 <= top <= height - tall]
    places = [Box(top, left, left + wide, top + tall) for top in tops or [0]]
    return next((place for place in places if not any(_meet(place, other) for other in taken)), places[0])


def _meet(a: Box, b: Box) -> bool:
    return a.top < b.bottom and b.top < a.bottom and a.left < b.right and b.left < a.right


@lru_cache(maxsize=1024)  # a video repeats most of its tags from frame to frame
def _tag(text: str, colour: str, size: int) -> np.ndarray:
    """Text on its colour, (H, W, 3) uint8 RGB; `size` is its height in pixels."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox("Ag" + text)
    left, _, right, _ = font.getbbox(text)
    pad = max(size // 5, 2)
    tag = Image.new("RGB", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), colour)
    red, green, blue = (value / 255 for value in ImageColor.getrgb(colour)[:3])
    ink = "white" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.18 else "black"  # WCAG 2.1
    ImageDraw.Draw(tag).text((pad - left, pad - top), text, fill=ink, font=font)
    return np.asarray(tag)
