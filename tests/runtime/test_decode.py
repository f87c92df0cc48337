import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mien.runtime.decode import UnreadablePhoto, decode_photo
from tests.photosets import encode, picture

PICTURE = picture(90, 120, seed=5)
WHOLE = {
    "jpeg": encode(PICTURE, quality=95),
    "progressive": encode(PICTURE, quality=95, progressive=True),
    "png": encode(PICTURE, "PNG"),
    "webp": encode(PICTURE, "WEBP", lossless=True),
    "bmp": encode(PICTURE, "BMP"),
    "gif": encode(PICTURE, "GIF"),
}


def decode(data: bytes, max_megapixels: float = 1) -> np.ndarray:
    return decode_photo(data, max_megapixels=max_megapixels)


@pytest.mark.parametrize("form", ["jpeg", "progressive", "png", "webp", "bmp"])
def test_the_pixels_are_rgb_in_this_order(form: str) -> None:
    pixels = decode(WHOLE[form])
    assert pixels.shape == (90, 120, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - PICTURE).mean() < 3


def test_sixteen_bits_are_cut_to_the_upper_eight() -> None:
    ok, data = cv2.imencode(".png", PICTURE[..., ::-1].astype(np.uint16) * 257)
    assert ok and (decode(data.tobytes()) == PICTURE).all()


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1"])
def test_grey_palette_and_alpha_become_rgb(mode: str) -> None:
    image = Image.fromarray(PICTURE).convert(mode)
    assert (decode(encode(image, "PNG")) == np.asarray(image.convert("RGB"))).all()


def test_cmyk_becomes_rgb() -> None:
    pixels = decode(encode(Image.fromarray(PICTURE).convert("CMYK"), quality=95))
    assert np.abs(pixels.astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"<html>not a photo</html>" * 50, "not_an_image"),
        (WHOLE["jpeg"][:60], "not_an_image"),
        (encode(np.zeros((1001, 1000, 3), np.uint8), "PNG"), "too_large"),
        (encode(Image.fromarray(PICTURE[..., 0].astype(np.float32)), "TIFF"), "undecodable"),
    ],
)
def test_what_cannot_be_used_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadablePhoto) as caught:
        decode(data)
    assert caught.value.reason == reason and caught.value.detail


@pytest.mark.parametrize("form", sorted(WHOLE))
@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_a_truncated_photo_is_found(form: str, share: float) -> None:
    data = WHOLE[form]
    with pytest.raises(UnreadablePhoto) as caught:
        decode(data[: int(len(data) * share)])
    assert caught.value.reason == "truncated"


@pytest.mark.parametrize("form", sorted(WHOLE))
@pytest.mark.parametrize("tail", [b"\0" * 9, b"\r\n", b"uploaded by somebody"])
def test_bytes_after_the_end_do_no_harm(form: str, tail: bytes) -> None:
    assert (decode(WHOLE[form] + tail) == decode(WHOLE[form])).all()


def test_the_megapixel_limit_is_the_configured_one(recwarn: pytest.WarningsRecorder) -> None:
    large = encode(Image.new("1", (14_000, 14_000)), "PNG")  # beyond where Pillow itself would stop
    with pytest.raises(UnreadablePhoto, match="14000 x 14000 pixels are more than 100 megapixels"):
        decode(large, max_megapixels=100)
    assert not recwarn.list


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_damaged_photo_is_pixels_or_unreadable_and_never_another_error(form: str, data: st.DataObject) -> None:
    content = bytearray(WHOLE[form])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(content))
    except UnreadablePhoto as error:
        assert error.reason in ("not_an_image", "too_large", "truncated", "undecodable")
    else:
        assert pixels.ndim == 3 and pixels.shape[2] == 3
