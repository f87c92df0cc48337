"""Decoding: a photo's bytes or an array to pixels, checked before anything is decoded."""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

# Every photo is checked against `max_megapixels` instead; Pillow's own limit warns on stderr far below it.
Image.MAX_IMAGE_PIXELS = None

# Pillow opens MPO as JPEG and has no format of that name to open.
FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
ORIENTATION: Final = 0x0112  # EXIF tag; 5 to 8 turn the photo on its side
PNG_SIGNATURE: Final = 8  # bytes before the first chunk
AROUND_CHUNK: Final = 12  # bytes of a PNG's chunk beside its content: length, kind, checksum
END_MARKS: Final = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
# What Pillow's readers raise on bytes that are no image of their format.
PILLOW_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, RuntimeError, struct.error),
)
# Each is of a picture of ONE face; a request in flight may hold one decoded: 3 bytes a pixel.
LIMITS: Final = {"max_megapixels": 50.0, "max_megabytes": 20.0}
SHAPES: Final = "H x W, H x W x 1 or H x W x 3"


class UnreadablePhoto(Exception):
    """A photo that cannot be used: a reason in one fixed word, and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo says of itself: its format, and its size in pixels as it will be decoded."""

    format: str
    height: int
    width: int


def decode_photo(data: bytes, *, colour: str, max_megapixels: float, apply_exif_rotation: bool) -> np.ndarray:
    """The pixels of a photo: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 where `colour` is "grey".

    Alpha is dropped, 16 bits are cut to the upper 8, CMYK and palettes become RGB, colour profiles are not applied,
    of an animation the first picture is taken, a TIFF is turned as it says in any case.

    Raises:
        UnreadablePhoto: `empty_file`, `not_an_image`, `too_large`, `truncated` or `undecodable`.
    """
    header = read_header(data, max_megapixels=max_megapixels, apply_exif_rotation=apply_exif_rotation)
    return decode_pixels(data, header, colour=colour, apply_exif_rotation=apply_exif_rotation)


def read_header(data: bytes, *, max_megapixels: float, apply_exif_rotation: bool) -> PhotoHeader:
    """The photo's header; nothing is decoded, unless the photo does not end as its format ends.

    Raises:
        UnreadablePhoto: as `decode_photo`, except `undecodable`.
    """
    if not data:
        raise UnreadablePhoto("empty_file", "the file has 0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except PILLOW_ERRORS as error:
        webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
        if webp and len(data) < int.from_bytes(data[4:8], "little") + 8:  # shorter than its RIFF header announces
            raise UnreadablePhoto("truncated", f"the WEBP file breaks off ({len(data):,} bytes)") from error
        raise UnreadablePhoto("not_an_image", f"no image of a known format ({len(data):,} bytes)") from error
    width, height = image.size
    _refuse_too_large(height, width, max_megapixels)  # before the EXIF: Pillow decodes a whole PNG to look for it
    if apply_exif_rotation and _lies_on_its_side(image):
        width, height = height, width
    header = PhotoHeader(image.format or "", height, width)
    _check_whole(data, header.format, image)
    return header


def _lies_on_its_side(image: Image.Image) -> bool:
    """Whether the EXIF rotation exchanges width and height; Pillow and OpenCV have turned a TIFF already."""
    try:
        return image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except PILLOW_ERRORS:  # broken EXIF turns nothing
        return False


def _refuse_too_large(height: int, width: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise UnreadablePhoto("too_large", f"{width} x {height} pixels are more than {max_megapixels:g} megapixels")


def _check_whole(data: bytes, form: str, image: Image.Image) -> None:
    """OpenCV fills what a truncated JPEG lacks with grey and says nothing; Pillow says so, at the price of decoding.

    A whole file may carry bytes after its end mark, so a missing mark at the end is a question, not the answer.
    A PNG and a WebP say how long they are, and what is damaged within OpenCV finds.
    """
    if form == "PNG":
        if not _chunks_fit(data):
            raise UnreadablePhoto("truncated", f"the PNG file breaks off, or says wrong lengths ({len(data):,} bytes)")
        return
    if form == "WEBP" or (form in END_MARKS and data.endswith(END_MARKS[form])):
        return  # Pillow opens no WebP that is shorter than it says
    try:
        image.load()
    except PILLOW_ERRORS as error:
        raise UnreadablePhoto("truncated", f"the {form} file breaks off ({len(data):,} bytes: {error})") from error


def _chunks_fit(data: bytes) -> bool:
    """Whether every chunk of a PNG up to its end mark lies in the file; one wrong length cost 30 s and 3.4 GB."""
    at = PNG_SIGNATURE
    while at + AROUND_CHUNK <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += length + AROUND_CHUNK
        if kind == b"IEND":
            return bool(at <= len(data))
    return False


def decode_pixels(data: bytes, header: PhotoHeader, *, colour: str, apply_exif_rotation: bool) -> np.ndarray:
    """As `decode_photo`, for a photo whose header has been read.

    Raises:
        UnreadablePhoto: `undecodable`.
    """
    flags = cv2.IMREAD_COLOR_RGB if colour == "rgb" else cv2.IMREAD_GRAYSCALE
    if not apply_exif_rotation:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        why = getattr(error, "err", "") or "there is no memory for it"
        raise UnreadablePhoto("undecodable", f"the {header.format} file cannot be decoded ({why})") from error
    shape = (header.height, header.width, *([3] if colour == "rgb" else []))
    if pixels is None or pixels.shape != shape or pixels.dtype != np.uint8:  # a PFM gives floats, and grey in any case
        raise UnreadablePhoto("undecodable", f"this kind of {header.format} file cannot be decoded")
    return pixels.reshape(header.height, header.width, -1)


def as_photo(value: Any, *, colour: str, max_megapixels: float) -> np.ndarray:
    """The picture as `decode_photo` gives one: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 where `colour` is "grey".

    `value` is an array or nested lists, (H, W) or (H, W, 1) grey or (H, W, 3) RGB, of whole numbers from 0 to 255;
    floats such as 12.0 are whole. Grey and RGB are converted as those of a file.

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
        shape = " x ".join(map(str, pixels.shape)) or "that of a single value"
        raise UnreadablePhoto("not_an_image", f"the shape is {shape}; it must be {SHAPES}")
    height, width, channels = pixels.shape
    _refuse_too_large(height, width, max_megapixels)
    photo = np.ascontiguousarray(_whole_bytes(pixels))
    if channels == (1 if colour == "grey" else 3):
        return photo
    if colour == "rgb":
        return np.repeat(photo, 3, axis=2)
    # Reading a PNG as grey rounds otherwise than `cvtColor`, and an array is to answer as its PNG does.
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
