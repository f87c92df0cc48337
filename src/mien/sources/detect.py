"""Face detectors: YuNet and OpenCV's Haar cascade, and the settings by which faces are found."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import cv2
import numpy as np
from annotated_types import Ge

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Positive, Share
from mien.runtime.cut import Box

# https://github.com/opencv/opencv_zoo (MIT, see face_detection_yunet.LICENSE), the file as it is published there:
# SHA-256 8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4.
YUNET: Final = Path(__file__).with_name("face_detection_yunet_2023mar.onnx")
SMALLEST_LEARNT: Final = 10  # pixels: its publisher says that it learnt faces of about 10 to 300
RAISE: Final = 0.06  # of the box's height
OVERLAP: Final = 0.3  # of two boxes, from which they are one face: its publisher's
SEARCHED: Final = 640  # pixels of the longer side: faces that fill a photo stay as small as those learnt from
MIN_SCORE: Final = 0.7  # of a face in a data set of whole photographs
SMALLEST: Final = 40  # pixels of its shorter side
MAX_CANDIDATES: Final = 5000  # boxes in a photo, before those of one face are merged
HAAR: Final = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
INSTALLED: Final = {"yunet": YUNET, "haar": HAAR}
SEARCHED_BY_HAAR: Final = 2000  # pixels, of the longer side
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


class Detection(NamedTuple):
    """A face that was found."""

    box: Box  # in pixels of the photo, in which it lies
    score: float | None = None  # from 0 to 1; None: the detector gives none
    turn: float | None = None  # from 0, a face seen from the front, to 1, in profile; None: the detector cannot say
    sharpness: float | None = None  # of the face's pixels; None: it was not measured


class Detector(ABC):
    """Finds faces; several threads may call it at once."""

    name: str  # for people

    def __init__(self, smallest: int, longest: int, learnt: int) -> None:
        self._lock = threading.Lock()  # networks and cascades keep a state while they search
        self._smallest = smallest  # pixels of a face in the photo
        self._longest = longest  # pixels of the photo as it is searched
        self._learnt = learnt  # pixels of a face there

    @abstractmethod
    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; boxes lie in the photo."""

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        return max(self._smallest, round(self._learnt * times_smaller(height, width, self._longest)))


class YuNetDetector(Detector):
    """YuNet (Wu, Peng and Yu, 2023), which finds faces in profile too; another kind of file is a UserError."""

    name = "YuNet"

    def __init__(self, file: Path, *, min_score: float, smallest: int) -> None:
        super().__init__(smallest, SEARCHED, SMALLEST_LEARNT)
        try:
            self._network = cv2.FaceDetectorYN.create(str(file), "", (320, 320), min_score, OVERLAP, MAX_CANDIDATES)
        except cv2.error as error:
            raise UserError(f"{file}: is not a YuNet network that OpenCV can read.") from error

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right."""
        by = times_smaller(photo.shape[0], photo.shape[1], self._longest)
        to_bgr = cv2.COLOR_GRAY2BGR if photo.shape[2] == 1 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(shrunk(photo, by), to_bgr)
        with self._lock:
            self._network.setInputSize((pixels.shape[1], pixels.shape[0]))
            _, rows = self._network.detect(pixels)
        detections = [
            Detection(box_in_photo(*as_annotated(x, y, w, h), by, photo), min(float(score), 1.0), turn_of(landmarks))
            for x, y, w, h, *landmarks, score in ([] if rows is None else rows)
            if np.isfinite((x, y, w, h)).all()  # in noise and in photos of a few pixels it finds infinite faces
        ]
        return left_to_right(found for found in detections if found.box.shorter_side >= self._smallest)


class CascadeDetector(Detector):
    """A cascade of boosted features (Viola and Jones, 2001; with trees: Lienhart and Maydt, 2002).

    `haarcascade_frontalface_alt2` found the most faces in group photos with the fewest false ones of
    OpenCV's four frontal cascades; faces in profile and tilted heads are often missed.
    A photo is searched at most `longest` pixels long, because the time grows with the number of pixels.
    """

    def __init__(self, file: Path = HAAR, *, smallest: int = 40, longest: int = SEARCHED_BY_HAAR) -> None:
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


def turn_of(landmarks: Sequence[float]) -> float | None:
    """How far the nose lies from the middle of the eyes, along the line through them, as a share of their distance.

    `landmarks` are x and y of the right eye, the left eye and the nose, then of others. From 0 to 1; None if infinite.
    """
    right, left, nose = np.reshape(landmarks[:6], (3, 2)).astype(float)
    across = left - right
    if not np.isfinite(landmarks).all():
        return None
    return round(float(min(abs(across @ (nose - (right + left) / 2)) / max(across @ across, 1e-9), 1.0)), 4)


def as_annotated(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
    """A square around the face, as the field's data sets draw it, in place of YuNet's narrow and tall box.

    It is as high as YuNet's box and lies a little higher: the median of ExpW's boxes (docs/howto/detectors.md).
    """
    return x + w / 2 - h / 2, y - RAISE * h, h, h


def left_to_right(detections: Iterable[Detection]) -> list[Detection]:
    """In the order in which people number faces."""
    return sorted(detections, key=lambda found: (found.box.left, found.box.top))


def largest_of(detections: list[Detection], most: int) -> list[Detection]:
    """The `most` largest faces, in the order in which they came."""
    by_size = sorted(range(len(detections)), key=lambda i: -detections[i].box.shorter_side)
    return [detections[i] for i in sorted(by_size[:most])]


def times_smaller(height: int, width: int, longest: int) -> float:
    """The divisor that makes a photo at most `longest` pixels long; 1 where it is short enough."""
    return max(height, width, longest) / longest


def shrunk(photo: np.ndarray, by: float) -> np.ndarray:
    """A photo (H, W[, C]) divided by `by`, its areas averaged, and at least a pixel high and wide."""
    if by <= 1:
        return photo
    height, width = photo.shape[:2]
    size = (max(round(width / by), 1), max(round(height / by), 1))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def box_in_photo(x: float, y: float, w: float, h: float, by: float, photo: np.ndarray) -> Box:
    """A box found in the photo divided by `by`, in pixels of the whole photo and clamped to it."""
    height, width = photo.shape[:2]
    top, left, right, bottom = (round(float(edge) * by) for edge in (y, x, x + w, y + h))
    return Box(max(top, 0), max(left, 0), min(right, width), min(bottom, height))
