import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.runtime.decode import cut_below, decode_pixels, jpeg_frame, left_over_bytes_unmentioned, read_header
from tests.photosets import encode, picture


@given(st.integers(1, 90), st.integers(1, 90), st.booleans(), st.sampled_from(["RGB", "L", "CMYK"]))
def test_it_is_the_size_that_pillow_reads(height: int, width: int, progressive: bool, mode: str) -> None:
    image = Image.new(mode, (width, height))
    data = encode(image, progressive=progressive, exif=b"Exif\0\0" + b"x" * 300, comment=b"c" * 20)
    frame = jpeg_frame(data)
    assert frame and (frame.height, frame.width) == Image.open(io.BytesIO(data)).size[::-1] == (height, width)
    assert frame.sequential == (not progressive)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9" * 9, encode(picture(), "PNG")])
def test_what_is_no_usual_jpeg_is_left_to_others(data: bytes) -> None:
    assert jpeg_frame(data) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_size_or_none(tail: bytes) -> None:
    frame = jpeg_frame(b"\xff\xd8\xff" + tail)
    assert frame is None or min(frame.height, frame.width) > 0


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("restarts", [0, 3])
@pytest.mark.parametrize("by", [1, 2, 4, 8])
def test_the_rows_above_keep_their_pixels_exactly(subsampling: str, restarts: int, by: int) -> None:
    data = encode(picture(333, 250), quality=90, subsampling=subsampling, restart_marker_rows=restarts)
    header = read_header(data, max_megapixels=1, apply_exif_rotation=False)
    whole = decode_pixels(data, header, colour="rgb", reduce=by, apply_exif_rotation=False)
    for row in (1, 31, 32, 100, 255, 290):
        part = decode_pixels(data, header, colour="rgb", reduce=by, apply_exif_rotation=False, down_to=row)
        assert len(part) < len(whole) or row == 290
        above = -(-row // by) + 1  # and one that bilinear cutting may reach into
        assert (part[:above] == whole[:above]).all()


def test_a_progressive_file_is_left_whole() -> None:
    data = encode(picture(333, 250), progressive=True)
    frame = jpeg_frame(data)
    assert frame and cut_below(data, frame, 50) == (data, 333)


def test_only_the_left_over_bytes_are_unmentioned(capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(picture(333, 250))
    header = read_header(data, max_megapixels=1, apply_exif_rotation=False)

    def decode() -> None:
        decode_pixels(data, header, colour="rgb", apply_exif_rotation=False, down_to=50)

    decode()
    assert "extraneous bytes" in capfd.readouterr().err
    with left_over_bytes_unmentioned():
        os.write(2, b"before\n")
        decode()
        os.write(2, b"after\n")
    os.write(2, b"outside\n")
    assert capfd.readouterr().err == "before\nafter\noutside\n"
