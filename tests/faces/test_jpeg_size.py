import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.faces.jpeg_size import jpeg_size
from tests.photosets import encode, picture


@given(st.integers(1, 90), st.integers(1, 90), st.booleans(), st.sampled_from(["RGB", "L", "CMYK"]))
def test_it_is_the_size_that_pillow_reads(height: int, width: int, progressive: bool, mode: str) -> None:
    image = Image.new(mode, (width, height))
    data = encode(image, progressive=progressive, exif=b"Exif\0\0" + b"x" * 300, comment=b"c" * 20)
    assert jpeg_size(data) == Image.open(io.BytesIO(data)).size[::-1] == (height, width)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9" * 9, encode(picture(), "PNG")])
def test_what_is_no_usual_jpeg_is_left_to_others(data: bytes) -> None:
    assert jpeg_size(data) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_size_or_none(tail: bytes) -> None:
    size = jpeg_size(b"\xff\xd8\xff" + tail)
    assert size is None or min(size) > 0
