"""Video files: frames with their times in, frames with the source's sound out."""

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
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

# PyAV is imported in functions: it is an optional dependency.
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
Progress = Callable[[int, int], None]  # takes the frames that are done, and those expected (0: unknown)


def prefetch(items: Iterator[Item], n: int) -> Generator[Item]:
    """The items, `n` of which a thread makes in advance; their errors are raised here, and closing ends the thread."""
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
        length = self.stream.duration
        self._seconds = float(length * self.time_base) if length else (container.duration or 0) / 1e6
        self.expected = int(self.stream.frames) or round(self._seconds * self.rate)  # frames; 0: the file does not say
        self.read = 0  # frames so far
        self._damaged = 0  # packets that could not be decoded
        self.last = 0.0  # seconds, the time of the frame read last
        sounds = container.streams.audio
        self.sound = sounds[0].codec_context.name.removesuffix("float") if sounds else ""  # its codec

    def frames(self, every: float = 0.0) -> Iterator[Frame]:
        """The frames in the order of their times, at most one in `every` seconds; a UserError where there is none."""
        first = before = 0
        wanted = 0.0
        for decoded in self._decoded():
            pts = decoded.pts if decoded.pts is not None else before + round(1 / self.rate / self.time_base)
            if self.read:
                pts = max(pts, before + 1)  # encoders want each frame later than the one before
            else:
                first = pts
            before, time = pts, float((pts - first) * self.time_base)
            self.read, self.last = self.read + 1, time
            if time >= wanted - 1e-9:
                wanted += every * max(1, int((time - wanted) / every) + 1) if every else 0.0
                turns = round(decoded.rotation / 90)  # counter-clockwise, as NumPy counts
                pixels = np.rot90(decoded.to_ndarray(format="rgb24"), turns)
                yield Frame(np.ascontiguousarray(pixels), pts, time)
        if not self.read:
            raise UserError(f"{self.file}: no frame of this video can be decoded.")

    def _decoded(self) -> Iterator[Any]:
        import av

        packets = self.container.demux(self.stream)
        while self._damaged <= MOST_DAMAGED:
            try:
                yield from next(packets).decode()
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError:
                self._damaged += 1

    @property
    def problem(self) -> str:
        """A sentence on what was missing, once all frames have been read; "" if nothing was."""
        short = self._seconds > self.last + 1 + 2 / float(self.rate)
        if not (self._damaged or short or self.read < self.stream.frames):
            return ""
        of = f" of {self.expected:,}" if self.expected else ""
        return f"{self.file}: is damaged or breaks off: {self.read:,}{of} frames could be read."


@contextmanager
def open_video(file: Path) -> Iterator[Video]:
    """An open video file, closed when the block ends; a UserError for what is no video that PyAV can show."""
    import av

    if not file.is_file():
        raise UserError(f"{file}: there is no such file.")
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{file}", options=options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{file}: is not a readable video ({reason}).") from error
    with container:
        if not container.streams.video:
            raise UserError(f"{file}: has no pictures, only sound.")
        width, height = container.streams.video[0].width, container.streams.video[0].height
        if not 0 < max(width, height) <= WIDEST:
            raise UserError(f"{file}: frames of {width} x {height} pixels; the longer side may have {WIDEST:,}.")
        yield Video(file, container)


def write_video(
    file: Path, video: Video, frames: Iterable[Frame], progress: Progress = lambda done, expected: None
) -> None:
    """Write frames as H.264 in mp4, at their own times, with the sound of `video` if that can be copied.

    Of an odd side a pixel is cut off. `progress` is called after each frame. A file that cannot be written is a
    UserError.
    """
    import av

    try:
        with ExitStack() as open_files:
            options = {"movflags": "+faststart"}
            container = open_files.enter_context(av.open(f"file:{file}", "w", format="mp4", options=options))
            stream = container.add_stream(CODEC, rate=video.rate, options=CODEC_OPTIONS)
            streams = [_encoded(stream, video, frames, progress)]
            if video.sound in SOUNDS:  # opened once more: the frames of the open video are decoded meanwhile
                source = open_files.enter_context(av.open(f"file:{video.file}"))
                streams.append(_copied_sound(source, container))
            # In the order of time: players want pictures and sound side by side in the file.
            for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
                container.mux(packet)
    except av.error.FFmpegError as error:
        raise UserError(f"{file.name}: cannot be written: {error.strerror}.") from error


def _encoded(stream: Any, video: Video, frames: Iterable[Frame], progress: Progress) -> Iterator[Any]:
    import av

    context = stream.codec_context
    context.pix_fmt, context.time_base, context.color_range = "yuv420p", video.time_base, LIMITED
    context.colorspace = context.color_primaries = context.color_trc = BT709
    for done, frame in enumerate(frames, start=1):
        height, width = (side // 2 * 2 for side in frame.pixels.shape[:2])
        if not context.is_open:
            context.width, context.height = width, height
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.pixels[:height, :width]), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
        picture.pts, picture.time_base = frame.pts, video.time_base
        yield from stream.encode(picture)
        progress(done, video.expected)
    yield from stream.encode(None)


def _copied_sound(source: Any, container: Any) -> Iterator[Any]:
    sound = source.streams.audio[0]
    stream = container.add_stream_from_template(sound)
    for packet in source.demux(sound):
        if packet.dts is not None:
            packet.stream = stream
            yield packet
