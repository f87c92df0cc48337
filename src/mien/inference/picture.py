"""Photos of any kind, a file, bytes, an array or a PIL image, and frames of videos: their pixels."""

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mien.base.errors import UserError, printable
from mien.runtime.decode import PILLOW_ERRORS, UnreadablePhoto, decode_photo
from mien.sources.detect import PredictConfig

Photo = str | os.PathLike[str] | bytes | np.ndarray | Image.Image


@dataclass(frozen=True)
class Picture:
    """A photo's file, its bytes, or a frame of a video; it is read when its pixels are asked for."""

    file: Path
    data: bytes | None = None  # of a photo that is no file
    frame: np.ndarray | None = None  # (H, W, 3) uint8 RGB
    time: float | None = None  # seconds from the beginning of the video

    @property
    def says(self) -> str:
        """The name of the file, for a frame with its time; safe to print on a terminal."""
        return printable(self.file if self.time is None else f"{self.file} at {self.time:.2f} s")

    def pixels(self, limits: PredictConfig) -> np.ndarray:
        """(H, W, 3) uint8 RGB, as viewers show the picture; errors as of `read_photo` and `decode_photo`."""
        if self.frame is not None:
            return self.frame
        limit = int(limits.max_megabytes * 1e6)
        data = read_photo(self.file, limit + 1) if self.data is None else self.data
        if len(data) > limit:
            raise UnreadablePhoto("too_large", f"it has more than {limits.max_megabytes:g} megabytes")
        return decode_photo(data, max_megapixels=limits.max_megapixels)


def read_photo(file: Path, most: int) -> bytes:
    """The bytes of a photo's file, of which no more than `most` are read, whatever size it says that it has.

    UnreadablePhoto (`not_a_file`) for a folder, pipe or device, or a name that no file can have; an OSError where the
    file does not exist, or may not be read.
    """
    try:
        mode = file.stat().st_mode  # opening a pipe that nobody writes to would wait for ever
    except ValueError as error:  # a NUL in its name
        raise UnreadablePhoto("not_a_file", "no file can have this name") from error
    if not stat.S_ISREG(mode):
        raise UnreadablePhoto("not_a_file", "it is a folder, a pipe or a device, not a file")
    with file.open("rb") as opened:
        return opened.read(most)


def picture_of(photo: Photo) -> Picture:
    """The picture that a person means: a file's path, a file's bytes, an array of pixels, or a PIL image.

    Arrays are (H, W), (H, W, 1), (H, W, 3) in RGB order, or (H, W, 4) with transparency, and uint8; they are copied.
    What a file of the same pixels would give is what they give: a PIL image is turned by its EXIF orientation, and
    transparency lies on white. A ValueError for another array, a TypeError for another kind, and a UserError for a PIL
    image that cannot be read.
    """
    if isinstance(photo, str | os.PathLike):
        return Picture(Path(os.fsdecode(photo)))
    if isinstance(photo, bytes | bytearray | memoryview):
        return Picture(Path("photo"), data=bytes(photo))
    if isinstance(photo, np.ndarray):
        plain = photo[..., 0] if photo.ndim == 3 and photo.shape[2] == 1 else photo
        if photo.dtype != np.uint8 or not photo.size or (plain.ndim != 2 and photo.shape[2:] not in ((3,), (4,))):
            forms = "(H, W), (H, W, 1), (H, W, 3) in RGB order or (H, W, 4), of uint8"
            raise ValueError(f"a photo's array is {forms}; this is {photo.shape} {photo.dtype}.")
        photo = Image.fromarray(plain)
    if isinstance(photo, Image.Image):
        picture = Picture(Path(os.fsdecode(getattr(photo, "filename", "") or "photo")))
        try:
            return replace(picture, frame=_pixels_of(photo))
        except PILLOW_ERRORS as error:  # it is read only now
            raise UserError(f"{picture.says}: cannot be used: {str(error).rstrip('.')}.") from error
    raise TypeError(
        f"a photo is a path, bytes, a NumPy array or a PIL image, not {type(photo).__name__}; several are a list."
    )


def _pixels_of(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB, as `decode_photo` gives for a file of the image; one of PILLOW_ERRORS where it cannot."""
    if not all(image.size):
        raise ValueError("it has no pixels")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, of which the upper 8 count
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    return np.array(image.convert("RGB"))


def read_pixels(picture: Picture, limits: PredictConfig) -> np.ndarray:
    """The picture's pixels, (H, W, 3) uint8 RGB, or a UserError that names it."""
    try:
        return picture.pixels(limits)
    except UnreadablePhoto as error:
        raise UserError(f"{picture.says}: cannot be used: {error.detail}.") from error
    except OSError as error:
        raise UserError(f"{picture.says}: cannot be read: {error.strerror}.") from error
