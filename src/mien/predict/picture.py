"""What is predicted on: a photo's file, a photo's bytes, or a frame of a video."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.faces.decode import UnreadablePhoto, decode_photo
from mien.predict.photo_file import read_photo
from mien.predict.settings import PredictConfig
from mien.printable import printable


@dataclass(frozen=True)
class Picture:
    """A picture that is read when it is its turn."""

    file: Path
    data: bytes | None = None  # of a photo that is no file
    frame: np.ndarray | None = None  # (H, W, 3) uint8 RGB
    time: float | None = None  # seconds from the beginning of the video

    @property
    def says(self) -> str:
        """The file, and of a video the time too, fit to be printed."""
        return printable(self.file if self.time is None else f"{self.file} at {self.time:.2f} s")

    def pixels(self, colour: str, limits: PredictConfig) -> np.ndarray:
        """(H, W, 3) uint8 RGB, or (H, W, 1) of a photo where `colour` is "grey"; the EXIF rotation is applied.

        Raises:
            UnreadablePhoto: no image, broken off, or above the limits.
            OSError: the file cannot be read.
        """
        if self.frame is not None:
            return self.frame
        data = self._bytes(limits.max_megabytes)
        return decode_photo(data, colour=colour, max_megapixels=limits.max_megapixels, apply_exif_rotation=True)

    def _bytes(self, max_megabytes: float) -> bytes:
        if self.data is None:
            return read_photo(self.file, max_megabytes)
        if len(self.data) > max_megabytes * 1e6:
            raise UnreadablePhoto("too_large", f"it has more than {max_megabytes:g} megabytes")
        return self.data
