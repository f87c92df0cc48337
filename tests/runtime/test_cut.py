from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.runtime.cut import WHOLE_PHOTO, Box, BoxOutside, cut_face, face_box
from mien.runtime.decode import UnreadablePhoto, as_photo, decode_photo
from mien.runtime.spec import CutSpec
from tests.photosets import encode, picture

SIDES = st.integers(1, 300)
EDGES = st.tuples(st.integers(-200, 400), st.integers(-200, 400)).filter(lambda pair: pair[0] < pair[1])


@given(EDGES, EDGES, SIDES, SIDES, st.floats(0, 2), st.booleans())
def test_a_box_lies_in_the_photo_or_is_outside(
    rows: tuple[int, int], columns: tuple[int, int], height: int, width: int, margin: float, square: bool
) -> None:
    given_box = (rows[0], columns[0], columns[1], rows[1])
    overlaps = rows[0] < height and rows[1] > 0 and columns[0] < width and columns[1] > 0
    if not overlaps:
        with pytest.raises(BoxOutside):
            face_box(given_box, height, width, margin=margin, square=square)
        return
    box = face_box(given_box, height, width, margin=margin, square=square)
    assert 0 <= box.top < box.bottom <= height and 0 <= box.left < box.right <= width
    inside = (max(rows[0], 0), max(columns[0], 0), min(columns[1], width), min(rows[1], height))
    assert box.top <= inside[0] and box.left <= inside[1] and box.right >= inside[2] and box.bottom >= inside[3]
    if margin == 0 and not square:
        assert box == inside


@pytest.mark.parametrize(
    ("given", "margin", "square", "box"),
    [
        ((40, 40, 60, 80), 0.25, False, (30, 35, 65, 90)),  # a margin is a share of each side
        ((40, 40, 60, 80), 0, True, (40, 30, 70, 80)),  # the shorter side is widened about its centre
        ((40, 0, 20, 80), 0, True, (40, 0, 40, 80)),  # and moved into the photo where it fits
        ((40, 180, 200, 80), 0, True, (40, 160, 200, 80)),
        (WHOLE_PHOTO, 0.5, True, (0, 0, 200, 200)),  # the whole photo stays whole
    ],
)
def test_margins_and_squares_by_hand(given: Box, margin: float, square: bool, box: tuple[int, ...]) -> None:
    assert face_box(given, 200, 200, margin=margin, square=square) == box


def test_what_is_cut_is_the_box_and_not_its_mirror() -> None:
    photo = np.zeros((60, 100, 3), np.uint8)
    photo[10:40, 50:90] = (255, 0, 0)
    face = cut_face(photo, Box(top=10, left=50, right=90, bottom=40), CutSpec(16, "rgb"))
    assert face.shape == (16, 16, 3)
    assert (face == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [16, 64, 100])
@pytest.mark.parametrize(("colour", "channels"), [("rgb", 3), ("grey", 1)])
def test_a_cut_face_has_the_cuts_size_and_colour(size: int, colour: str, channels: int) -> None:
    photo, cut = picture(90, 120), CutSpec(size, colour)
    assert cut_face(photo, Box(5, 5, 70, 70), cut).shape == (size, size, channels)
    assert cut_face(photo[..., :1], Box(5, 5, 70, 70), cut).shape == (size, size, channels)


def test_grey_given_in_three_channels_stays_the_same_grey() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(cut_face(np.repeat(grey, 3, axis=2), Box(0, 0, 16, 16), CutSpec(16, "grey")), grey)


def test_shrinking_averages_and_does_not_alias() -> None:
    stripes = np.zeros((128, 128, 1), np.uint8)
    stripes[:, ::2] = 254
    assert set(np.unique(cut_face(stripes, Box(0, 0, 128, 128), CutSpec(32, "grey")))) == {127}


PICTURE = picture(9, 12, seed=5)
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("value", [PICTURE, GREY, GREY[..., None]], ids=["rgb", "grey", "one channel"])
def test_an_array_and_lists_give_the_pixels_of_the_file(value: np.ndarray, colour: str) -> None:
    file = encode(value if value.shape[-1] == 3 else GREY, "PNG")
    cut, whole = CutSpec(16, colour), Box(top=0, left=0, right=12, bottom=9)
    expected = cut_face(decode_photo(file, max_megapixels=1), whole, cut)
    for as_given in (value, value.tolist(), value.astype(np.float32), value.astype(np.int64)):
        np.testing.assert_array_equal(cut_face(as_photo(as_given, max_megapixels=1), whole, cut), expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[float("nan")]], "whole numbers from 0 to 255"),
        ([[float("inf")]], "whole numbers from 0 to 255"),
        ([[256]], "whole numbers from 0 to 255"),
        ([[-1]], "whole numbers from 0 to 255"),
        ([[0.5]], "whole numbers from 0 to 255"),
        ([[10**400]], "whole numbers"),
        ([["a"]], "whole numbers"),
        ([[True]], "whole numbers"),
        ([[None]], "whole numbers"),
        ([[{"a": 1}]], "whole numbers"),
        ([[1, 2], [3]], "rows differ in length"),
        ([1, 2, 3], "the shape is 3; the picture must be H x W"),
        ([[[1, 2]]], "the shape is 1 x 1 x 2"),
        ([[[[1]]]], "the shape is 1 x 1 x 1 x 1"),
        ([[]], "the shape is 1 x 0 x 1"),
        (None, "the shape is that of a single value"),
        (np.zeros((1001, 1000), np.uint8), "1000 x 1001 pixels are more than 1 megapixels"),
    ],
)
def test_what_is_no_picture_says_why(value: Any, words: str) -> None:
    with pytest.raises(UnreadablePhoto, match=words):
        as_photo(value, max_megapixels=1)
