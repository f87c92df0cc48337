"""The files of the detectors that need one: who publishes them, what is in them, and where mien keeps them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import UserError


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
