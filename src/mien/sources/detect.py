"""Face detection with YuNet, and the detector's file."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import cv2
import numpy as np

from mien.base.errors import UserError
from mien.base.files import written_whole
from mien.runtime.cut import Box


class Detection(NamedTuple):
    """A face that was found."""

    box: Box  # in pixels of the photo, in which it lies
    score: float | None = None  # from 0 to 1; None: the detector gives none


class Detector(Protocol):
    """Finds faces; several threads may ask at once."""

    name: str  # for people

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right; boxes lie in the photo."""
        ...

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        ...


def left_to_right(detections: Iterable[Detection]) -> list[Detection]:
    """In the order in which people number faces."""
    return sorted(detections, key=lambda found: (found.box.left, found.box.top))


def largest_of(detections: list[Detection], most: int) -> list[Detection]:
    """The `most` largest faces, in the order in which they came."""
    kept = sorted(range(len(detections)), key=lambda at: -detections[at].box.shorter_side)[:most]
    return [detections[at] for at in sorted(kept)]


def times_smaller(height: int, width: int, longest: int) -> float:
    """By what a photo is divided to be at most `longest` pixels long; 1 where it is already."""
    return max(height, width, longest) / longest


def shrunk(photo: np.ndarray, by: float) -> np.ndarray:
    """A photo (H, W[, C]) divided by `by`, its areas averaged, and at least a pixel high and wide."""
    if by <= 1:
        return photo
    height, width = photo.shape[:2]
    size = (max(round(width / by), 1), max(round(height / by), 1))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def box_in_photo(x: float, y: float, w: float, h: float, by: float, photo: np.ndarray) -> Box:
    """The part in the whole photo of x, y, width and height in the photo divided by `by`."""
    height, width = photo.shape[:2]
    top, left, right, bottom = (round(float(edge) * by) for edge in (y, x, x + w, y + h))
    return Box(max(top, 0), max(left, 0), min(right, width), min(bottom, height))


@dataclass(frozen=True)
class DetectorFile:
    """A file as its publisher gives it out."""

    name: str
    url: str
    size: int  # bytes
    sha256: str
    licence: str


FILES: Final = {
    "lbp": DetectorFile(
        name="lbpcascade_frontalface_improved.xml",
        url="https://raw.githubusercontent.com/opencv/opencv/4.10.0/data/lbpcascades/lbpcascade_frontalface_improved.xml",
        size=54_039,
        sha256="7c31331d494f20e216b397ad99d824d92ab91ebb15db3bcda6a2f8e684d238d3",
        licence="BSD",
    ),
    # The digest is that of the publisher's own Git LFS pointer.
    "yunet": DetectorFile(
        name="face_detection_yunet_2023mar.onnx",
        url="https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        size=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
    ),
}


def kept_at(detector: str) -> Path:
    """Where mien keeps a detector's file: in the user's cache folder (XDG Base Directory Specification)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache"
    return folder / "mien" / FILES[detector].name


def file_of(detector: str, given: str) -> Path:
    """The file to read: the given one, else where mien keeps it.

    Raises:
        UserError: there is no such file.
    """
    file = Path(given).expanduser() if given else kept_at(detector)
    if file.is_file():
        return file
    if given:
        raise UserError(f"{given}: there is no such file; detector_file is the file of the detector {detector}.")
    raise UserError(f"the detector {detector} needs a file that is not there: `mien detector {detector}` fetches it.")


PATIENCE: Final = 30.0  # seconds without a byte
FROM_A_FILE: Final = "`--from FILE` takes it from a file that was fetched elsewhere."


def fetch(detector: str, url: str | None = None) -> Path:
    """Fetch a detector's file over the network into mien's cache; the place where it now is.

    Args:
        detector: lbp or yunet.
        url: another place than the publisher's.

    Raises:
        UserError: there is no network, the publisher no longer has the file, or what came is another.
    """
    file = FILES[detector]
    return _put(detector, _download(url or file.url, file), url or file.url)


def take_from(detector: str, path: Path) -> Path:
    """Copy a detector's file into mien's cache; the place where it now is.

    Raises:
        UserError: there is no such file, or it is another.
    """
    try:
        return _put(detector, path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{error.filename or path}: cannot be used: {error.strerror}.") from error


def is_published(path: Path, detector: str) -> bool:
    """Whether a file is the one that the detector's publisher gives out.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest() == FILES[detector].sha256


def _download(url: str, file: DetectorFile) -> bytes:
    """At most a byte more than the file has, so that a wrong answer of any length is told by its digest."""
    with _in_a_sentence(url):
        with urlopen(url, timeout=PATIENCE) as answer:
            announced = int(answer.headers.get("Content-Length") or 0)
            data: bytes = answer.read(file.size + 1)
        if len(data) < min(announced, file.size):
            raise UserError(f"{url}: the download broke off after {len(data):,} of {announced:,} bytes; try again.")
    return data


@contextmanager
def _in_a_sentence(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise UserError(f"{url}: the server answered {error.code} ({error.reason}); {FROM_A_FILE}") from error
    except URLError as error:
        raise UserError(f"{url}: cannot be reached ({_why(error.reason)}); {FROM_A_FILE}") from error
    except (HTTPException, OSError) as error:
        raise UserError(f"{url}: the download broke off ({_why(error)}); try again.") from error


def _why(reason: object) -> str:
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _put(detector: str, data: bytes, where: str) -> Path:
    file, place = FILES[detector], kept_at(detector)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise UserError(
            f"{where}: is not {file.name} as it was published: its SHA-256 begins with {found[:12]}, "
            f"that of the published file with {file.sha256[:12]}; nothing was kept."
        )
    try:
        with written_whole(place) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{place.parent}: cannot be written: {error.strerror}.") from error
    return place


LEARNT: Final = 10  # pixels: its publisher says that it learnt faces of about 10 to 300
HIGHER: Final = 0.06  # of the height
OVERLAP: Final = 0.3  # of two boxes, from which they are one face: its publisher's
MOST: Final = 5000  # candidates of a photo, before those of one face are made one


class YuNetDetector:
    """YuNet (Wu, Peng and Yu, 2023), which finds faces in profile, tilted and half covered too.

    A photo is searched at most `longest` pixels long: faces that fill it are then no larger than those that the
    network learnt from, and small ones are not yet lost.
    """

    name = "YuNet"

    def __init__(self, file: Path, *, min_score: float = 0.7, smallest: int = 40, longest: int = 640) -> None:
        self._network = _read(file, min_score)
        self._lock = threading.Lock()  # the network keeps the size of the photo that it is shown
        self._smallest = smallest
        self._longest = longest

    def detect(self, photo: np.ndarray) -> list[Detection]:
        """The faces in a photo (H, W, C) uint8, RGB or grey, from left to right."""
        by = times_smaller(photo.shape[0], photo.shape[1], self._longest)
        turned = cv2.COLOR_GRAY2BGR if photo.shape[2] == 1 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(shrunk(photo, by), turned)
        with self._lock:
            self._network.setInputSize((pixels.shape[1], pixels.shape[0]))
            _, rows = self._network.detect(pixels)
        found = [
            Detection(box_in_photo(*as_annotated(x, y, w, h), by, photo), min(float(score), 1.0))
            for x, y, w, h, *_, score in ([] if rows is None else rows)
            if np.isfinite((x, y, w, h)).all()  # in noise and in photos of a few pixels it finds infinite faces
        ]
        return left_to_right(one for one in found if one.box.shorter_side >= self._smallest)

    def smallest(self, height: int, width: int) -> int:
        """The side in pixels of the smallest face that it can find in a photo of this size."""
        return max(self._smallest, round(LEARNT * times_smaller(height, width, self._longest)))


def as_annotated(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
    """A square around the face, as the field's data sets draw it, in place of YuNet's narrow and tall box.

    The square is as high as YuNet's box and lies a little higher: the median of ExpW's own boxes (docs/FACES.md). So
    too a face is not pressed out of shape on its way into a square network.
    """
    return x + w / 2 - h / 2, y - HIGHER * h, h, h


def _read(file: Path, min_score: float) -> cv2.FaceDetectorYN:
    try:
        return cv2.FaceDetectorYN.create(str(file), "", (320, 320), min_score, OVERLAP, MOST)
    except cv2.error as error:
        raise UserError(f"{file}: is no YuNet network that OpenCV can read.") from error
