"""Pictures that come as arrays or nested lists."""

from typing import Any

import cv2
import numpy as np
import pytest

from mien.runtime.decode import UnreadablePhoto, as_photo, decode_photo
from tests.photosets import encode, picture

PICTURE = picture(9, 12, seed=5)
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("colour", ["grey", "rgb"])
@pytest.mark.parametrize("value", [PICTURE, GREY, GREY[..., None]], ids=["rgb", "grey", "one channel"])
def test_an_array_and_lists_give_the_pixels_of_the_file(value: np.ndarray, colour: str) -> None:
    file = encode(value if value.shape[-1] == 3 else GREY, "PNG")
    expected = decode_photo(file, colour=colour, max_megapixels=1, apply_exif_rotation=False)
    for given in (value, value.tolist(), value.astype(np.float32), value.astype(np.int64)):
        photo = as_photo(given, colour=colour, max_megapixels=1)
        assert photo.dtype == np.uint8
        np.testing.assert_array_equal(photo, expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[float("nan")]], "whole numbers from 0 to 255"),
        ([[float("inf")]], "whole numbers from 0 to 255"),
        ([[256]], "whole numbers from 0 to 255"),
        ([[-1]], "whole numbers from 0 to 255"),
        ([[0.5]], "whole numbers from 0 to 255"),
        ([[10**400]], "no numbers"),
        ([["a"]], "no numbers"),
        ([[True]], "no numbers"),
        ([[None]], "no numbers"),
        ([[{"a": 1}]], "no numbers"),
        ([[1, 2], [3]], "rows are not equally long"),
        ([1, 2, 3], "the shape is 3; it must be H x W"),
        ([[[1, 2]]], "the shape is 1 x 1 x 2"),
        ([[[[1]]]], "the shape is 1 x 1 x 1 x 1"),
        ([[]], "the shape is 1 x 0 x 1"),
        (None, "the shape is that of a single value"),
        (np.zeros((1001, 1000), np.uint8), "1000 x 1001 pixels are more than 1 megapixels"),
    ],
)
def test_what_is_no_picture_says_why(value: Any, words: str) -> None:
    with pytest.raises(UnreadablePhoto, match=words):
        as_photo(value, colour="rgb", max_megapixels=1)
