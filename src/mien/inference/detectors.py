"""Face detectors by name: YuNet and OpenCV's Haar cascade."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from annotated_types import Ge

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Positive, Share
from mien.sources.detect import (
    YUNET,
    Detection,
    Detector,
    YuNetDetector,
    box_in_photo,
    left_to_right,
    shrunk,
    times_smaller,
)

HAAR: Final = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
INSTALLED: Final = {"yunet": YUNET, "haar": HAAR}
SEARCHED: Final = 2000  # pixels, of the longer side
SCALE_STEP: Final = 1.06
NEIGHBOURS: Final = 3


@dataclass(frozen=True)
class PredictConfig:
    """How faces are found, the same on the command line, in videos and on the web page."""

    __pydantic_config__ = STRICT

    detector: Literal["yunet", "haar"] = "yunet"  # `mien detector` lists them
    detector_file: str = ""  # another cascade for haar, another network for yunet; "": the one that is installed
    min_face: Annotated[int, Ge(20)] = 40  # pixels of the shorter side of a box
    min_score: Share = 0.7  # of detectors that give one, from 0 to 1
    max_faces: AtLeastOne = 200  # in a photo; the largest are kept
    max_megapixels: Positive = 100.0  # of a photo; a larger one is refused unread
    max_megabytes: Positive = 50.0  # of a photo's file
    unsure_below: Share = 0.5  # an answer whose likeliest expression is below this is called unsure


class CascadeDetector(Detector):
    """A cascade of boosted features (Viola and Jones, 2001; with trees: Lienhart and Maydt, 2002).

    `haarcascade_frontalface_alt2` found the most faces in group photos with the fewest false ones of
    OpenCV's four frontal cascades; faces in profile and tilted heads are often missed.
    A photo is searched at most `longest` pixels long, because the time grows with the number of pixels.
    """

    def __init__(self, file: Path = HAAR, *, smallest: int = 40, longest: int = SEARCHED) -> None:
        super().__init__(smallest, max(longest, smallest), smallest)
        self.name = "Haar cascade" if file == HAAR else f"cascade {file.name}"
        self._cascade = cv2.CascadeClassifier()
        with suppress(cv2.error, SystemError):
            self._cascade.load(str(file))
        if self._cascade.empty():
            raise UserError(f"{file}: is not a cascade that OpenCV can read.")

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; without scores."""
        by = times_smaller(photo.shape[0], photo.shape[1], self._longest)
        grey = photo[..., 0] if photo.shape[2] == 1 else cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        pixels = np.ascontiguousarray(shrunk(grey, by))
        side = (self._smallest, self._smallest)
        with self._lock:
            found = self._cascade.detectMultiScale(pixels, SCALE_STEP, NEIGHBOURS, minSize=side)
        return left_to_right(Detection(box_in_photo(x, y, w, h, by, photo)) for x, y, w, h in found)


def build_detector(config: PredictConfig) -> Detector:
    """The detector that `conf/predict.yaml` or an option chose; a UserError for a file without one."""
    file = Path(config.detector_file).expanduser() if config.detector_file else INSTALLED[config.detector]
    if not file.is_file():
        raise UserError(
            f"{file}: there is no such file; detector_file must be a file of the detector {config.detector}."
        )
    if config.detector == "haar":
        return CascadeDetector(file, smallest=config.min_face)
    return YuNetDetector(file, min_score=config.min_score, smallest=config.min_face)
