"""Videos of drawn faces."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.inference.conftest import portrait

SIZE = (240, 320)  # height, width


def scene(left: int = 0, *, two: bool = False) -> np.ndarray:
    """The drawn portrait on grey, so many pixels from the left; twice, side by side, if asked."""
    photo = cv2.resize(portrait()[0], (150, 150), interpolation=cv2.INTER_AREA)
    picture = np.full((*SIZE, 3), 128, np.uint8)
    for x in (left, left + 160) if two else (left,):
        picture[40:190, x : x + 150] = photo
    return picture


def write_video(
    file: Path,
    frames: Sequence[np.ndarray],
    *,
    times: Sequence[float] | None = None,
    rate: int = 10,
    sound: str | None = None,
    form: str = "yuv420p",
    **options: Any,
) -> Path:
    """A video of RGB frames; at `times` in seconds where they are given; with a tone of the given codec."""
    with av.open(str(file), "w", **options) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], form
        stream.codec_context.time_base = Fraction(1, 1000)
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(1000 * (times[number] if times else number / rate))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            write_tone(container, tone, len(frames) / rate)
    return file


def write_tone(container: Any, stream: Any, seconds: float) -> None:
    wave = np.sin(np.arange(int(48000 * seconds), dtype=np.float32) / 20)
    for start in range(0, len(wave) - 960, 960):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 960], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def turned(file: Path) -> Path:
    """The same mp4, which now tells its player to turn the pictures by 90 degrees clockwise."""
    data = bytearray(file.read_bytes())
    upright = b"".join(value.to_bytes(4, "big") for value in (0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000))
    sideways = b"".join(
        value.to_bytes(4, "big", signed=True) for value in (0, 0x10000, 0, -0x10000, 0, 0, SIZE[0] << 16, 0, 0x40000000)
    )
    at = data.index(upright, data.index(b"tkhd"))
    data[at : at + 36] = sideways
    file.write_bytes(data)
    return file
