"""What `conf/app.yaml` may say: how much the web page takes, and how much at once."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class AppConfig:
    """Limits of the page and of `/api/predict`; what a single photo may be stands in `conf/predict.yaml`."""

    at_once: int = 2  # photos that are computed at the same time
    queue: int = 64  # photos that may wait for their turn; one more is refused
    wait_seconds: float = 20.0  # for a turn; then refused
    upload_seconds: float = 30.0  # in which an upload has to arrive
    uploads_megabytes: float = 400.0  # of all uploads on their way together
    disk_megabytes: float = 1000.0  # of uploads that wait on the disk
    keep_seconds: float = 60.0  # after which an upload is deleted
    cameras: int = 4  # live at the same time
    camera_seconds: float = 300.0  # of one camera; then a person presses the button again
    frame_megabytes: float = 2.0  # of a camera's picture
    video_megabytes: float = 100.0
    video_seconds: float = 60.0
    video_megapixels: float = 9.0  # of a picture; 4K has 8.3
    video_every: float = 0.4  # seconds between two pictures that are looked at
    video_work_seconds: float = 60.0  # after which the rest of a video is left out
    heat_maps: int = 12  # of a photo's faces; more would keep a visitor waiting
    follow_seconds: float = 5.0  # between two looks at the registry

    def __post_init__(self) -> None:
        """Refuse what would let nothing through."""
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ValueError(f"{field.name} must be above 0, not {getattr(self, field.name):g}")
        if self.video_every > 0.5:
            raise ValueError(f"video_every must be at most 0.5 seconds, or faces get lost, not {self.video_every:g}")
