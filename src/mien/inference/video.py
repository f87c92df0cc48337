"""Video files: frames read in the order of their times, and written with the sound of the source."""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from mien.base.errors import UserError

if TYPE_CHECKING:
    from av.container import InputContainer

# PyAV is imported where a video is opened: it is an optional dependency.
MISSING: Final = "videos need PyAV, which is not installed: `pip install -c constraints.txt '.[video]'` brings it."
# Containers of pictures and sound; playlists and the like, which name other files to read, are not among them.
FORMATS: Final = "mov,matroska,avi,mpeg,mpegts,asf,flv,ogg,gif,h264,hevc,m4v"
WIDEST: Final = 8192  # pixels of a frame's longer side, which is checked before a frame is decoded
MOST_DAMAGED: Final = 1000  # packets; a file with more of them is noise
SOUNDS: Final = ("aac", "mp3", "opus")  # what browsers play in an mp4
CODEC: Final = "libx264"
CODEC_OPTIONS: Final = {"preset": "veryfast", "crf": "20"}
BT709: Final = 1  # the colours of HD video (ITU-T H.273); where a file states none, players guess by size
LIMITED: Final = 1  # their range

Item = TypeVar("Item")


def prefetch(items: Iterator[Item], n: int) -> Generator[Item]:
    """The items, up to `n` of which a thread makes in advance; an error of `items` is raised here.

    Close the generator where it is not exhausted: that ends the thread.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, None) for _ in range(n))
        try:
            while (item := waiting.popleft().result()) is not None:
                yield item
                waiting.append(thread.submit(next, items, None))
        finally:
            for future in waiting:
                future.cancel()


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
    def has_sound(self) -> bool:
        """Whether there is sound."""
        return bool(self.container.streams.audio)

    @property
    def can_copy_sound(self) -> bool:
        """Whether there is sound, of a kind that can be copied."""
        streams = self.container.streams.audio
        return bool(streams) and streams[0].codec_context.name.removesuffix("float") in SOUNDS

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
                if self._damaged > MOST_DAMAGED:
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
def open_video(file: Path) -> Iterator[Video]:
    """An open video file, closed when the block ends.

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
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{file}: is no video that can be read ({reason}).") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{file}: has no pictures, only sound.")
        width, height = container.streams.video[0].width, container.streams.video[0].height
        if not 0 < max(width, height) <= WIDEST:
            raise UserError(f"{file}: pictures of {width} x {height} pixels; they may be up to {WIDEST:,} long.")
        yield Video(file, container)


def _upright(decoded: Any) -> np.ndarray:
    """The pixels, turned by the rotation that the file states for its player."""
    pixels: np.ndarray = decoded.to_ndarray(format="rgb24")
    turns = round(decoded.rotation / 90) % 4  # counter-clockwise, as NumPy counts
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class Sound:
    """Copies the packets of sound as far as the pictures have come: players want both side by side in the file."""

    def __init__(self, source: Any, container: Any) -> None:
        self._stream = container.add_stream_from_template(source.streams.audio[0])
        self._container = container
        self._packets = (packet for packet in source.demux(source.streams.audio[0]) if packet.dts is not None)
        self._next: Any = next(self._packets, None)

    def until(self, seconds: float) -> None:
        """Copy the sound up to that time of the file."""
        while self._next is not None and float(self._next.dts * self._next.time_base) <= seconds:
            self._next.stream = self._stream
            self._container.mux(self._next)
            self._next = next(self._packets, None)


class VideoWriter:
    """Takes frames in the order of their times."""

    def __init__(self, container: Any, rate: Fraction, time_base: Fraction, sound: Sound | None) -> None:
        self._container = container
        self._sound = sound
        self._time_base = time_base
        self._stream = container.add_stream(CODEC, rate=rate, options=dict(CODEC_OPTIONS))
        self._started = False

    def write(self, pixels: np.ndarray, pts: int) -> None:
        """A frame (H, W, 3) uint8 RGB at `pts` in the video's time base; of an odd side a pixel is cut off."""
        import av

        height, width = (side // 2 * 2 for side in pixels.shape[:2])
        if not self._started:
            self._start(height, width)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
        frame.pts, frame.time_base = pts, self._time_base
        self._container.mux(self._stream.encode(frame))
        if self._sound:
            self._sound.until(float(pts * self._time_base))

    def finish(self) -> None:
        """Write the frames that the encoder still holds."""
        self._container.mux(self._stream.encode(None))
        if self._sound:
            self._sound.until(float("inf"))

    def _start(self, height: int, width: int) -> None:
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = self._time_base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        self._started = True


@contextmanager
def write_video(file: Path, video: Video) -> Iterator[VideoWriter]:
    """A writer with the frame rate and the times of `video`, and its sound if that can be copied.

    Raises:
        UserError: this PyAV has no H.264 encoder, or the file cannot be written.
    """
    import av

    if CODEC not in av.codecs_available:
        raise UserError("this PyAV has no H.264 encoder (libx264); its wheel from PyPI has one.")
    try:
        with ExitStack() as open_files:
            options = {"movflags": "+faststart"}
            container = open_files.enter_context(av.open(f"file:{file}", "w", format="mp4", options=options))
            sound = None
            if video.can_copy_sound:  # read once more: the frames of the open video are decoded meanwhile
                sound = Sound(open_files.enter_context(av.open(f"file:{video.file}")), container)
            writer = VideoWriter(container, video.rate, video.time_base, sound)
            yield writer
            writer.finish()
    except av.error.FFmpegError as error:
        raise UserError(f"{file.name}: cannot be written: {error.strerror}.") from error
