"""Image decoding: a photo's bytes or an array to pixels, checked before decompression."""

import io
import struct
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from PIL import ExifTags, Image

# Every photo is checked against `max_megapixels` instead; Pillow's own limit warns on stderr far below it.
Image.MAX_IMAGE_PIXELS = None

# Pillow opens MPO as JPEG and has no format of that name to open.
FORMATS: Final = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
# By EXIF's orientation: quarter turns counter-clockwise, and whether left and right are then exchanged.
TURNS: Final = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (3, 1), 6: (3, 0), 7: (1, 1), 8: (1, 0)}
AROUND_CHUNK: Final = 12  # bytes of a PNG's chunk beside its content: length, kind, checksum
# What Pillow's readers raise on bytes that are no image of their format.
PILLOW_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError),
    *(ArithmeticError, MemoryError, RuntimeError, struct.error),
)
# Each is of a picture of ONE face; a request in flight may hold one decoded: 3 bytes a pixel (7 for a moment).
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
    """What a photo says of itself: its format, its size in pixels as viewers show it, and how it is turned for that."""

    format: str
    height: int
    width: int
    orientation: int  # EXIF's, 1 to 8
    blended: bool  # for Pillow: it has transparency, a grey scale of its own, or a first picture that is no frame


def decode_photo(data: bytes, *, max_megapixels: float) -> np.ndarray:
    """The pixels of a photo as viewers show it, turned by its EXIF orientation: (H, W, 3) uint8 RGB.

    What is transparent lies on white, 16 bits are cut to the upper 8, grey, CMYK and palettes become RGB, colour
    profiles are not applied, of an animation the first frame is taken. UnreadablePhoto for one that is `empty_file`,
    `not_an_image`, `too_large`, `truncated` or `undecodable`.
    """
    return decode_pixels(data, read_header(data, max_megapixels=max_megapixels))


def read_header(data: bytes, *, max_megapixels: float) -> PhotoHeader:
    """The photo's header, of which little is decoded; UnreadablePhoto as of `decode_photo`, except `undecodable`."""
    if not data:
        raise UnreadablePhoto("empty_file", "the file has 0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except PILLOW_ERRORS as error:
        size = f"({len(data):,} bytes)"
        webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
        if webp and len(data) < int.from_bytes(data[4:8], "little") + 8:  # shorter than its RIFF header announces
            raise UnreadablePhoto("truncated", f"the WEBP file is truncated {size}") from error
        raise UnreadablePhoto("not_an_image", f"the file is no image of a known format {size}") from error
    _refuse_too_large(*image.size, max_megapixels)
    _check_whole(data, image.format or "", image)
    orientation = _orientation(image, data)
    sides = image.size if orientation >= 5 else image.size[::-1]  # a quarter turn, one way or the other
    ppm, keyed = image.format == "PPM", image.has_transparency_data and image.mode != "I;16"  # which it makes white
    blended = getattr(image, "default_image", False) or (image.mode in ("L", "RGB", "I") if ppm else keyed)
    return PhotoHeader(image.format or "", *sides, orientation, blended)


def _orientation(image: Image.Image, data: bytes) -> int:
    """EXIF's, 1 to 8; like viewers it heeds no XMP. 1 for a TIFF, which Pillow and OpenCV turn by themselves."""
    exif = Image.Exif()
    try:
        if image.format == "PNG" and b"eXIf" in data and "exif" not in image.info:
            image.load()  # the chunk may follow the pixels
        exif.load(image.info.get("exif", b""))
        found = exif.get(ExifTags.Base.Orientation)
    except PILLOW_ERRORS:  # broken EXIF is ignored
        return 1
    return found if found in TURNS else 1


def _refuse_too_large(width: int, height: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise UnreadablePhoto("too_large", f"{width} x {height} pixels are more than {max_megapixels:g} megapixels")


def _check_whole(data: bytes, form: str, image: Image.Image) -> None:
    """Refuse a file that breaks off: OpenCV fills the rest of a JPEG with grey, and says nothing.

    Bytes may follow the end mark, so that only decoding finds it. PNG and WebP say how long they are.
    """
    if form == "PNG" and not _chunks_fit(data):
        raise UnreadablePhoto("truncated", f"the PNG file is truncated, or states wrong lengths ({len(data):,} bytes)")
    if form in ("PNG", "WEBP") or (form in ("JPEG", "MPO") and data.endswith(b"\xff\xd9")):
        return  # Pillow opens no WebP that is shorter than it says
    try:
        image.load()
    except PILLOW_ERRORS as error:
        raise UnreadablePhoto("truncated", f"the {form} file is truncated ({len(data):,} bytes: {error})") from error


def _chunks_fit(data: bytes) -> bool:
    """Whether every chunk of a PNG up to its end mark lies in the file; one wrong length cost 30 s and 3.4 GB."""
    at = 8  # bytes of the signature
    while at + AROUND_CHUNK <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += length + AROUND_CHUNK
        if kind == b"IEND":
            return bool(at <= len(data))
    return False


def decode_pixels(data: bytes, header: PhotoHeader) -> np.ndarray:
    """As `decode_photo`, for a photo whose header has been read; UnreadablePhoto for one that is `undecodable`."""
    try:
        if header.blended:
            image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.seek(int(getattr(image, "default_image", False)))  # an animated PNG's first frame
            if image.mode == "I":  # a PGM of more than 8 bits, which Pillow stretches to 16
                image = image.point(lambda value: value / 256).convert("L")
            image = image.convert("RGBA")
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image)
            pixels: np.ndarray | None = np.asarray(white)
        else:  # OpenCV turns neither animated PNGs nor animated WEBPs
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, *PILLOW_ERRORS) as error:
        why = getattr(error, "err", "") or str(error) or "there is no memory for it"
        raise UnreadablePhoto("undecodable", f"the {header.format} file cannot be decoded ({why})") from error
    quarters, mirrored = TURNS[header.orientation]
    turned = None if pixels is None else np.rot90(pixels, quarters)
    if turned is None or turned.shape != (header.height, header.width, 3) or turned.dtype != np.uint8:  # of a PFM
        raise UnreadablePhoto("undecodable", f"this kind of {header.format} file cannot be decoded")
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def as_photo(value: Any, *, max_megapixels: float) -> np.ndarray:
    """A picture that is no file, as a photo: (H, W, 3) uint8 RGB or (H, W, 1) grey.

    `value` is an array or nested lists of SHAPES, of whole numbers from 0 to 255; floats such as 12.0 are whole.
    UnreadablePhoto where it is `too_large`, or `not_an_image`: another shape, or values that are no pixels.
    """
    try:
        pixels = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:  # such as rows of different lengths
        raise UnreadablePhoto("not_an_image", f"the rows differ in length; the picture must be {SHAPES}") from error
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        shape = " x ".join(map(str, pixels.shape)) or "that of a single value"
        raise UnreadablePhoto("not_an_image", f"the shape is {shape}; the picture must be {SHAPES}")
    _refuse_too_large(pixels.shape[1], pixels.shape[0], max_megapixels)
    with np.errstate(invalid="ignore"):  # NaN and infinity are refused below
        photo = pixels.astype(np.uint8) if pixels.dtype.kind in "iuf" else None
    if photo is None or not np.array_equal(photo, pixels):
        raise UnreadablePhoto("not_an_image", "the pixels must be whole numbers from 0 to 255")
    return np.ascontiguousarray(photo)
