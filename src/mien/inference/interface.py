"""Python interface: `mien.predict`, `mien.load` and `mien.stream`."""

import math
import threading
import time
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, overload

import cv2
import numpy as np

from mien.base.errors import UserError
from mien.base.settings import read_usage
from mien.inference.default_model import find_root, load_default
from mien.inference.picture import Photo
from mien.inference.predictor import FacePrediction, Faces, Predictor

if TYPE_CHECKING:
    from mien.inference.video import Frame

LOADING: Final = threading.Lock()


def load(model: str | Path | None = None) -> Predictor:
    """A model with the face detector of `conf/predict.yaml`, or the default one where there is none.

    Args:
        model: `models:/mien-fer2013@champion`, `models:/mien-fer2013/3`, a folder such as `build/train`, a file
            `x.onnx`, or `packaged` or `packaged-compact`. None: the champion of the checkout that contains the current
            folder, else `packaged`.

    Raises:
        UserError: there is no such model, or its files cannot be used.
    """
    loaded = load_default(None if model is None else str(model))
    if loaded.warning:
        warnings.warn(f"{loaded.says} {loaded.warning}; the model `packaged` is for those.", stacklevel=2)
    return Predictor(loaded, settings=read_usage(find_root(), "predict"))


@overload
def predict(photo: Photo, model: str | Path | None = None) -> Faces: ...
@overload
def predict(photo: list[Photo], model: str | Path | None = None) -> list[Faces]: ...
def predict(photo: Photo | list[Photo], model: str | Path | None = None) -> Faces | list[Faces]:
    """The faces of a photo with their expressions, from left to right; of a list of photos, a list of those.

    A model is loaded once; `load` gives one that can be kept, or loads it anew.

    Args:
        photo: a path, a file's bytes, an array (H, W, 3) uint8 in RGB order (also (H, W) and (H, W, 1) in grey, and
            (H, W, 4)), a PIL image, or a list of them.
        model: as of `load`.

    Raises:
        UserError: there is no such model or photo, or its file cannot be used. It is a ValueError.
        TypeError: the photo is of another kind.
    """
    with LOADING:  # else threads that ask at once would each load it
        predictor = _loaded(None if model is None else str(model), Path.cwd())
    return [predictor.predict(one) for one in photo] if isinstance(photo, list) else predictor.predict(photo)


@lru_cache(maxsize=4)
def _loaded(model: str | None, here: Path) -> Predictor:
    return load(model)


@dataclass(frozen=True)
class Shot:
    """A frame of a video or a camera, with its faces."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB
    time: float  # seconds from the first frame
    faces: Faces  # their probabilities smoothed over time
    tracks: list[int]  # of each face its number, which it keeps from frame to frame


def stream(source: int | str | Path, model: str | Path | None = None, *, smoothing: float = 0.5) -> Iterator[Shot]:
    """The frames of a video file, or of the camera of that number until it is closed, with their faces.

    Args:
        source: a video's path, which needs the extra `video`, or a camera's number: 0 is the first.
        model: as of `load`.
        smoothing: time constant in seconds of the probabilities; 0 takes each frame's own.

    Raises:
        UserError: with the first frame, where there is no such model or camera, or the file is no video. A video that
            breaks off, or is damaged, ends with a warning.
        ValueError: the time constant is negative, or no number.
    """
    if not 0 <= smoothing < math.inf:
        raise ValueError(f"smoothing must be a number of seconds, 0 or more, not {smoothing}.")
    from mien.inference.annotation import FRAMES_A_BATCH, Tracker, follow_faces

    predictor, tracker = load(model), Tracker(smoothing)
    classes, unsure_below = predictor.model.spec.classes, predictor.settings.unsure_below
    opened, batch = (_camera(source), 1) if isinstance(source, int) else (_clip(Path(source)), FRAMES_A_BATCH)
    with closing(opened) as frames:
        for frame, found, _, tracks in follow_faces(frames, predictor, tracker, batch):
            pairs = zip(found.detections, tracks, strict=True)
            smooth = (FacePrediction.of(face, track.probabilities, classes, unsure_below) for face, track in pairs)
            faces = Faces(smooth, frame.pixels, predictor.model.says)
            yield Shot(frame.pixels, frame.time, faces, [track.number for track in tracks])


def _clip(file: Path) -> "Generator[Frame]":
    from mien.inference.video import open_video

    with open_video(file) as video:
        yield from video.frames()
        if video.problem:
            warnings.warn(video.problem, stacklevel=1)


def _camera(number: int) -> "Generator[Frame]":
    from mien.inference.video import Frame

    if number < 0:  # OpenCV crashes
        raise UserError(f"there is no camera {number}; 0 is the first.")
    camera, start = cv2.VideoCapture(number), time.monotonic()
    try:
        if not camera.isOpened():
            raise UserError(f"there is no camera {number}, or another program uses it.")
        while (read := camera.read())[0]:
            seconds = time.monotonic() - start
            yield Frame(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), round(seconds * 1000), seconds)
    finally:
        camera.release()
