"""Frames of a video file, upright and with their times."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.errors import UserError
from mien.video.sound import kept_sound

if TYPE_CHECKING:
    from av.container import InputContainer

MISSING: Final = "videos need PyAV, which is not installed: `pip install -c constraints.txt '.[video]'` brings it."
# Containers of pictures and sound; playlists and the like, which name other files to read, are not among them.
FORMATS: Final = "mov,matroska,avi,mpeg,mpegts,asf,flv,ogg,gif,h264,hevc,m4v"
WIDEST: Final = 8192  # pixels of a frame's longer side; what is announced is checked before a frame is decoded


@dataclass(frozen=True)
class Frame:
    """A picture of a video."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, turned as players show it
    pts: int  # presentation time in the video's time base
    time: float  # seconds from the first frame


class Video:
    """An open video; its frames can be read once."""

    def __init__(self, file: Path, container: "InputContainer") -> None:
        self.file = file
        self.container = container
        self.stream: Any = container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.time_base = Fraction(self.stream.time_base or Fraction(1, 1000))
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.read = 0  # frames so far
        self._damaged = 0  # packets that could not be decoded
        self._last = 0.0

    @property
    def expected(self) -> int:
        """Frames that the file announces, 0 where it does not say."""
        return int(self.stream.frames) or round(self._seconds * self.rate)

    @property
    def sound_kept(self) -> bool:
        """Whether there is sound, of a kind that can be copied."""
        streams = self.container.streams.audio
        return bool(streams) and kept_sound(streams[0])

    @property
    def _seconds(self) -> float:
        import av

        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        return (self.container.duration or 0) / av.time_base

    def frames(self, every: float = 0.0) -> Iterator[Frame]:
        """The frames in the order of their times; with `every`, at most one in so many seconds.

        Raises:
            UserError: there is none.
        """
        first: int | None = None
        before: int | None = None
        wanted = 0.0
        for decoded in self._decoded():
            pts = decoded.pts if decoded.pts is not None else (before or 0) + round(1 / self.rate / self.time_base)
            if before is not None and pts <= before:
                pts = before + 1  # encoders want each frame later than the one before
            first = pts if first is None else first
            before, time = pts, float((pts - first) * self.time_base)
            self.read, self._last = self.read + 1, time
            if time >= wanted - 1e-9:
                wanted += every * max(1, int((time - wanted) / every) + 1) if every else 0.0
                yield Frame(_upright(decoded), pts, time)
        if not self.read:
            raise UserError(f"{self.file}: no frame of this video can be decoded.")

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
                decoded = packet.decode()
            except StopIteration:
                return
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._damaged += 1
                if self._damaged > 1000:  # of a file that is noise
                    return
                continue
            yield from decoded

    @property
    def problem(self) -> str:
        """A sentence on what was missing, once all frames have been read; "" if nothing was."""
        if self._damaged or (self.stream.frames and self.read < self.stream.frames):
            of = f" of {self.expected:,}" if self.expected else ""
            return f"{self.file}: is damaged or breaks off: {self.read:,}{of} frames could be read."
        if self._seconds > self._last + 1 + 2 / float(self.rate):
            return f"{self.file}: breaks off after {self._last:.1f} of {self._seconds:.1f} s."
        return ""


@contextmanager
def opened(file: Path) -> Iterator[Video]:
    """A video file, closed again afterwards.

    Raises:
        UserError: PyAV is missing, there is no such file, it is no video, or its pictures are too large.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(MISSING) from error
    if not file.is_file():
        raise UserError(f"{file}: there is no such file.")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{file}", options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{file}: is no video that can be read ({_why(error)}).") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{file}: has no pictures, only sound.")
        width, height = container.streams.video[0].width, container.streams.video[0].height
        if not 0 < max(width, height) <= WIDEST:
            raise UserError(f"{file}: pictures of {width} x {height} pixels; they may be up to {WIDEST:,} long.")
        yield Video(file, container)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _upright(decoded: Any) -> np.ndarray:
    """The pixels, turned by the rotation that the file states for its player."""
    pixels: np.ndarray = decoded.to_ndarray(format="rgb24")
    turns = round(decoded.rotation / 90) % 4  # counter-clockwise, as NumPy counts
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels
