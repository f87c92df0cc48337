"""A photo's bytes to pixels: checked before they are decoded, the same way in training and in prediction."""

import io
import struct
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from PIL import Image

from mien.faces.jpeg import JpegFrame, cut_below, jpeg_frame
from mien.faces.png import chunks_fit

# The limit on a photo's size is `max_megapixels` below, checked for every photo before it is decoded;
# Pillow's own would warn on stderr far below it.
Image.MAX_IMAGE_PIXELS = None

# Pillow opens MPO as JPEG and has no format of that name to open.
FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
ORIENTATION: Final = 0x0112  # EXIF tag; 5 to 8 turn the photo on its side
END_MARKS: Final = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9"}
REDUCED: Final = {
    1: cv2.IMREAD_GRAYSCALE,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
# What Pillow's readers raise on bytes that are no image of their format.
PILLOW_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, RuntimeError, struct.error),
)


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
    frame: JpegFrame | None = None  # of a JPEG that will not be rotated

    @property
    def is_jpeg(self) -> bool:
        """Whether the format can be decoded at 1/2, 1/4 and 1/8 of its size in less time."""
        return self.format in ("JPEG", "MPO")


def decode_photo(
    data: bytes, *, colour: str, reduce: int = 1, max_megapixels: float, apply_exif_rotation: bool
) -> np.ndarray:
    """The pixels of a photo: (H, W, 3) uint8 RGB, or (H, W, 1) uint8 where `colour` is "grey".

    Alpha is dropped, 16 bits are cut to the upper 8, CMYK and palettes become RGB, colour profiles are not applied,
    of an animation the first picture is taken, a TIFF is turned as it says in any case. With `reduce` 2, 4 or 8 the
    sides are divided by it, rounded up.

    Raises:
        UnreadablePhoto: `empty_file`, `not_an_image`, `too_large`, `truncated` or `undecodable`.
    """
    header = read_header(data, max_megapixels=max_megapixels, apply_exif_rotation=apply_exif_rotation)
    return decode_pixels(data, header, colour=colour, reduce=reduce, apply_exif_rotation=apply_exif_rotation)


def read_header(data: bytes, *, max_megapixels: float, apply_exif_rotation: bool) -> PhotoHeader:
    """The photo's header; nothing is decoded, unless the photo does not end as its format ends.

    Raises:
        UnreadablePhoto: as `decode_photo`, except `undecodable`.
    """
    if not data:
        raise UnreadablePhoto("empty_file", "the file has 0 bytes")
    frame = None if apply_exif_rotation else jpeg_frame(data)
    if frame and data.endswith(END_MARKS["JPEG"]):  # a fifth of the time that Pillow takes
        _refuse_too_large(frame.height, frame.width, max_megapixels)
        return PhotoHeader("JPEG", frame.height, frame.width, frame)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except PILLOW_ERRORS as error:
        if _is_short_webp(data):
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
    if image.format == "TIFF":
        return False
    try:
        return image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
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
        if not chunks_fit(data):
            raise UnreadablePhoto("truncated", f"the PNG file breaks off, or says wrong lengths ({len(data):,} bytes)")
        return
    if form == "WEBP":  # Pillow opens none that is shorter than it says
        return
    mark = END_MARKS.get(form)
    if mark and data.endswith(mark):
        return
    try:
        image.load()
    except PILLOW_ERRORS as error:
        raise UnreadablePhoto("truncated", f"the {form} file breaks off ({len(data):,} bytes: {error})") from error


def _is_short_webp(data: bytes) -> bool:
    """Whether a WebP lacks bytes that its RIFF header announces; Pillow then does not even take it for one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8


def decode_pixels(
    data: bytes,
    header: PhotoHeader,
    *,
    colour: str,
    reduce: int = 1,
    apply_exif_rotation: bool,
    down_to: int | None = None,
) -> np.ndarray:
    """As `decode_photo`, for a photo whose header has been read; rows from `down_to` on may be missing.

    Raises:
        UnreadablePhoto: `undecodable`.
    """
    by = reduce if header.is_jpeg else 1  # OpenCV decodes any other format whole, and then rounds the sides down
    flags = REDUCED[by] | (cv2.IMREAD_COLOR_RGB if colour == "rgb" else 0)
    if not apply_exif_rotation:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    content, height = (
        (data, header.height) if header.frame is None or down_to is None else cut_below(data, header.frame, down_to)
    )
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        why = getattr(error, "err", "") or "there is no memory for it"
        raise UnreadablePhoto("undecodable", f"the {header.format} file cannot be decoded ({why})") from error
    shape = (-(-height // by), -(-header.width // by), *([3] if colour == "rgb" else []))
    if pixels is None or pixels.shape != shape or pixels.dtype != np.uint8:  # a PFM gives floats, and grey in any case
        raise UnreadablePhoto("undecodable", f"this kind of {header.format} file cannot be decoded")
    expected = (-(-height // reduce), -(-header.width // reduce))
    if by != reduce:
        pixels = cv2.resize(pixels, expected[::-1], interpolation=cv2.INTER_AREA)
    return pixels.reshape(*expected, -1)
