import numpy as np
import pytest
from PIL import Image

from mien.runtime.decode import UnreadablePhoto, decode_photo
from tests.photosets import awkward, encode, picture

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


AWKWARD = awkward(PICTURE)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_picture_is_as_a_viewer_shows_it_or_refused_with_its_reason(name: str) -> None:
    data, shown, tolerance = AWKWARD[name]
    if isinstance(shown, str):
        with pytest.raises(UnreadablePhoto) as caught:
            decode(data)
        assert caught.value.reason == shown and caught.value.detail
        return
    pixels = decode(data)
    assert pixels.shape == shown.shape and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - shown).mean() <= tolerance


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
