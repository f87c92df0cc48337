"""A video that browsers play: H.264 and, where the source's sound can stay as it is, that sound, in an mp4."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.errors import UserError
from mien.video.sound import Sound, sound_of

if TYPE_CHECKING:
    from mien.video.read import Video

CODEC: Final = "libx264"
OPTIONS: Final = {"preset": "veryfast", "crf": "20"}
BT709: Final = 1  # the colours of HD video (ITU-T H.273): without a word on them players guess by size
LIMITED: Final = 1  # their range


class VideoWriter:
    """Takes frames in the order of their times."""

    def __init__(self, container: Any, rate: Fraction, time_base: Fraction, sound: Sound | None) -> None:
        self._container = container
        self._sound = sound
        self._time_base = time_base
        self._stream = container.add_stream(CODEC, rate=rate, options=dict(OPTIONS))
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
        """Write what the encoder still holds."""
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
def writing(file: Path, video: "Video") -> Iterator[VideoWriter]:
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
            sound = open_files.enter_context(sound_of(video.file, container)) if video.sound_kept else None
            writer = VideoWriter(container, video.rate, video.time_base, sound)
            yield writer
            writer.finish()
    except av.error.FFmpegError as error:
        raise UserError(f"{file.name}: cannot be written: {error.strerror}.") from error
