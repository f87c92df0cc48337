"""Limits of the web page (`conf/app.yaml`)."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Gt, Le

from mien.base.settings import STRICT, AtLeastOne, Positive


@dataclass(frozen=True)
class AppConfig:
    """Limits of the page and of its API; the limits of a single photo are in `conf/predict.yaml`."""

    __pydantic_config__ = STRICT

    hosts: list[str] = field(default_factory=list)  # further names by which browsers may call this server
    at_once: AtLeastOne = 2  # photos, and videos, that are computed at the same time
    queue: AtLeastOne = 64  # photos, and videos, that may wait for their turn; one more is refused
    wait_seconds: Positive = 20.0  # for a turn; then refused
    upload_seconds: Positive = 30.0  # in which an upload has to arrive
    uploads_megabytes: Positive = 400.0  # of all uploads on their way together
    disk_megabytes: Positive = 1000.0  # of videos on the disk
    keep_seconds: Positive = 60.0  # after which an annotated video is deleted
    cameras: AtLeastOne = 4  # live at the same time
    camera_seconds: Positive = 300.0  # of one camera; then a person presses the button again
    frame_megabytes: Positive = 2.0  # of a camera's picture
    video_megabytes: Positive = 100.0  # of a video's file
    video_seconds: Positive = 60.0  # after which the rest of a video is left out
    video_megapixels: Positive = 9.0  # of a picture; 4K has 8.3
    video_every: Annotated[float, Gt(0), Le(0.5)] = 0.4  # seconds between two analysed pictures; above 0.5 loses faces
    video_work_seconds: Positive = 60.0  # after which the rest of a video is left out
    video_memory_megabytes: Positive = 2000.0  # of the process that decodes and annotates a video
    heat_maps: AtLeastOne = 12  # of a photo's faces; more would keep a visitor waiting
    follow_seconds: Positive = 5.0  # between two looks at the registry
