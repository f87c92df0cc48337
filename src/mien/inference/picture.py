"""Photos of any kind, a file, bytes, an array or a PIL image, and frames of videos: their pixels."""

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from mien.base.errors import UserError, printable
from mien.inference.detectors import PredictConfig
from mien.runtime.decode import PILLOW_ERRORS, UnreadablePhoto, decode_photo

Photo = str | os.PathLike[str] | bytes | np.ndarray | Image.Image
FILE_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
        data = read_photo(self.file, limits.max_megabytes) if self.data is None else self.data
        if len(data) > limits.max_megabytes * 1e6:
            raise UnreadablePhoto("too_large", f"it has more than {limits.max_megabytes:g} megabytes")
        return decode_photo(data, max_megapixels=limits.max_megapixels)


def read_photo(file: Path, max_megabytes: float) -> bytes:
    """The bytes of a photo's file, of which no more than `max_megabytes` are read.

    Raises UnreadablePhoto for a larger file (`too_large`) and for a folder, pipe or device, or a name that no file can
    have (`not_a_file`), and an OSError where the file does not exist, or may not be read.
    """
    try:
        about = file.stat()  # opening a pipe that nobody writes to would wait for ever
    except ValueError as error:  # a NUL in its name
        raise UnreadablePhoto("not_a_file", "no file can have this name") from error
    if not stat.S_ISREG(about.st_mode):
        kind = FILE_KINDS.get(stat.S_IFMT(about.st_mode), "something else")
        raise UnreadablePhoto("not_a_file", f"it is {kind}, not a file")
    limit = int(max_megabytes * 1e6)
    if about.st_size <= limit:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)  # a file may grow, or not know its size
        if len(data) <= limit:
            return data
    raise UnreadablePhoto("too_large", f"its file has more than {max_megabytes:g} megabytes")


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
        grey = photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 1)
        if photo.dtype != np.uint8 or not photo.size or not (grey or (photo.ndim == 3 and photo.shape[2] in (3, 4))):
            raise ValueError(
                "a photo's array is (H, W), (H, W, 1), (H, W, 3) in RGB order or (H, W, 4), of uint8; "
                f"this is {photo.shape} {photo.dtype}."
            )
        if not grey and photo.shape[2] == 4:
            return picture_of(Image.fromarray(photo))
        pixels = photo.reshape(*photo.shape[:2], 1).repeat(3, axis=2) if grey else photo
        return Picture(Path("photo"), frame=np.array(pixels, order="C"))  # theirs may change after the answer
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
