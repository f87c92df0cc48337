"""Photos that are hard or hostile: rotated, animated, of odd kinds, bombs, no photos at all, and garbage."""

import functools
import struct
import time
import zlib
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image, ImageCms

from mien.runtime.decode import UnreadablePhoto, decode_photo
from tests.photosets import encode, picture

PICTURE: Final = picture(40, 60, seed=5)
LOSSLESS: Final[dict[str, dict[str, Any]]] = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
FORMATS: Final = {**LOSSLESS, "JPEG": {"quality": 95}}
REASONS: Final = ("empty_file", "not_an_image", "too_large", "truncated", "undecodable")
SECONDS: Final = 2  # of garbage


def decode(data: bytes, max_megapixels: float = 100) -> np.ndarray:
    return decode_photo(data, max_megapixels=max_megapixels)


@pytest.mark.parametrize("form", [*sorted(FORMATS), "GIF", "BMP", "PPM"])
@pytest.mark.parametrize(("height", "width"), [(101, 77), (1, 300), (300, 1)])
def test_every_format_is_decoded_whatever_its_sides(form: str, height: int, width: int) -> None:
    file = encode(picture(height, width, seed=1), form, **FORMATS.get(form, {}))
    assert decode(file).shape == (height, width, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"x" * 30, b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff"]
)
def test_broken_exif_is_no_obstacle(form: str, exif: bytes) -> None:
    pixels = decode(encode(PICTURE, form, exif=b"Exif\0\0" + exif, **FORMATS[form]))
    assert np.abs(pixels.astype(int) - PICTURE).mean() < 3


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_colour_profile_right_or_wrong_changes_no_pixel(form: str) -> None:
    plain = decode(encode(PICTURE, form, **FORMATS[form]))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (profile, b"junk" * 50):
        assert (decode(encode(PICTURE, form, icc_profile=icc, **FORMATS[form])) == plain).all()


WRONG: Final = {
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "pdf": b"%PDF-1.7\n" + b"x" * 300,
    "mp4.png": b"\0\0\0 ftypisom" + bytes(300),
    "heic": b"\0\0\0\x18ftypheic" + bytes(300),
    "zip": b"PK\x03\x04" + bytes(300),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) print",
    "psd": b"8BPS\0\1" + bytes(300),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_another_file_is_no_image_whatever_its_name(data: bytes) -> None:
    with pytest.raises(UnreadablePhoto, match="the file is no image of a known format"):
        decode(data)


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b)) for t, b in parts)
    return b"\x89PNG\r\n\x1a\n" + body


@functools.cache
def bombs() -> dict[str, bytes]:
    wide = Image.new("1", (20_000, 20_000))
    return {
        "PNG": png(2**31 - 1, 2**31 - 1),
        "TIFF": encode(wide, "TIFF", compression="group4"),
        "GIF": encode(PICTURE, "GIF").replace(struct.pack("<HH", 60, 40), struct.pack("<HH", 65535, 65535)),
        "BMP": b"BM"
        + struct.pack("<IIIIiiHHIIIIII", 200, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(99),
        "PPM": b"P6 100000 100000 255\n" + bytes(99),
        "JPEG": encode(PICTURE).replace(struct.pack(">HH", 40, 60), struct.pack(">HH", 65500, 65500), 1),
    }


@pytest.mark.parametrize("form", sorted(bombs()))
def test_a_bomb_is_refused_before_anything_is_unpacked(form: str) -> None:
    with pytest.raises(UnreadablePhoto, match="pixels are more than 100 megapixels"):
        decode(bombs()[form])


def test_a_png_that_announces_more_than_it_has_is_refused_at_once() -> None:
    """OpenCV makes room for what a chunk announces: 4 GB and half a minute for a file of 3 kB."""
    whole = encode(PICTURE, "PNG")
    at = whole.index(b"IDAT") - 4
    with pytest.raises(UnreadablePhoto, match="the PNG file is truncated, or states wrong lengths"):
        decode(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4 :])


def test_a_bomb_in_a_pngs_text_or_profile_is_not_unpacked() -> None:
    packed = b"a\0\0" + zlib.compress(bytes(100_000_000), 9)
    for kind in (b"zTXt", b"iCCP"):
        with pytest.raises(UnreadablePhoto):
            decode(png(10, 10, (kind, packed)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_garbage_is_pixels_or_unreadable_and_never_another_error() -> None:
    """Seeded damage to small files, for two seconds: bytes changed, cut out, doubled, put in, and broken off."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encode(PICTURE, form, exif=exif, **options) for form, options in FORMATS.items()]
    files += [encode(PICTURE, "GIF"), encode(PICTURE, "BMP"), encode(PICTURE, "PPM"), encode(PICTURE, progressive=True)]
    random = np.random.default_rng(0)
    end, tried = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        try:
            pixels = decode(damaged(files[tried % len(files)], random), max_megapixels=1)
        except UnreadablePhoto as error:
            assert error.reason in REASONS and error.detail
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        tried += 1
    assert tried > 50


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    content = bytearray(data)
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(0, min(len(content), 400) if random.random() < 0.7 else len(content)))
        length = int(random.integers(1, 30))
        match int(random.integers(0, 5)):
            case 0:
                content[at] = int(random.integers(0, 256))
            case 1:
                del content[at : at + length]
            case 2:
                content[at:at] = content[at : at + length]
            case 3:
                content[at:at] = random.bytes(length)
            case _:
                content[at : at + 4] = random.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
        content = content or bytearray(b"\0")
    return bytes(content[: int(random.integers(1, len(content) + 1))] if random.random() < 0.2 else content)
