"""Decoding and annotation of a video in a process of its own, with limits on memory, disk and threads.

    python -m mien.app.clip_worker IN OUT LIMITS

A file that somebody sent may crash or stall the libraries that decode it, or make them fill the memory: here that ends
this process alone. It writes frames to its standard output, each after a line of JSON; reads a line that says what to
draw and when; and writes the annotated video to OUT. `mien.app.clips` is the other side.
"""

import json
import os
import random
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import av  # noqa: F401 - what is imported later may find no memory
import numpy as np

from mien.app.answers import LONGEST, shrunk_to
from mien.app.limits import AppConfig
from mien.app.turns import Refused
from mien.base.errors import UserError
from mien.inference.annotation import draw_into
from mien.inference.video import SOUNDS, Frame, Video, open_video, write_video
from mien.runtime.cut import Box

TIMES_LARGER: Final = 4  # the annotated file at most, of `video_megabytes`
Sighting = tuple[float, list[int], str, str]  # when, top, left, right, bottom, what it is called, and its class


def main() -> None:
    """The two passes: the frames that are analysed, then all frames, with what was found."""
    source, out, limits = Path(sys.argv[1]), Path(sys.argv[2]), AppConfig(**json.loads(sys.argv[3]))
    channel, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may come between the messages
    restrict(limits)
    begin = time.monotonic()
    try:
        last, note = analyse(source, limits, channel, begin + limits.video_work_seconds / 2)
        send(channel, {"end": note})
        found = json.loads(sys.stdin.buffer.readline())
        note = annotate(source, out, limits, channel, found, last, begin + limits.video_work_seconds)
        send(channel, {"written": note})
    except BrokenPipeError:  # nobody waits for it any more
        sys.exit(1)
    except MemoryError:
        send(channel, {"error": "This video needs too much memory.", "status": 415})
    except UserError as error:  # names the file, of which a visitor should not know where it lies
        sentence = str(error).replace(f"{source}: ", "This video ")
        send(channel, {"error": sentence, "status": getattr(error, "status", 415)})


def restrict(limits: AppConfig) -> None:
    """Bound what this process may take, and let answers to photos go first."""
    try:
        import resource
    except ImportError:  # Windows
        return
    os.nice(10)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > limits.at_once:  # a decoder starts a thread for each core that it sees
        os.sched_setaffinity(0, random.sample(cores, limits.at_once))
    memory, disk = limits.video_memory_megabytes * 1e6, TIMES_LARGER * limits.video_megabytes * 1e6
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, disk), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS does not limit the address space
            resource.setrlimit(kind, (int(most), int(most)))


def send(channel: BinaryIO, message: dict[str, Any], pixels: bytes | memoryview = b"") -> None:
    """Write a message, and a frame after it."""
    channel.write(json.dumps(message).encode() + b"\n")
    channel.write(pixels)
    channel.flush()


def analyse(source: Path, limits: AppConfig, channel: BinaryIO, until: float) -> tuple[float, str]:
    """Send the frames that are analysed; the time of the last one, and a sentence on what is missing."""
    last = 0.0
    with open_video(source) as video:
        _refuse_too_large(video.stream.height, video.stream.width, limits)
        for frame in video.frames(limits.video_every):
            if frame.time > limits.video_seconds:
                return last, f"Only the first {limits.video_seconds:g} seconds were analysed."
            if time.monotonic() > until:
                return last, f"Only the first {last:.0f} seconds were analysed, because the video took too long."
            height, width, _ = frame.pixels.shape
            _refuse_too_large(height, width, limits)  # it may change on the way
            last, share = frame.time, _share(video.read, video, limits)
            send(channel, {"shape": [height, width], "time": last, "share": share}, frame.pixels.data)
        return last, video.problem.replace(f"{source}: ", "This video ")


def annotate(
    source: Path, out: Path, limits: AppConfig, channel: BinaryIO, found: dict[str, Any], last: float, until: float
) -> str:
    """Write the video up to the time of the last analysed frame, with what was found; a sentence on what is missing."""
    note = ""

    def annotated(video: Video) -> Iterator[Frame]:
        nonlocal note
        for frame in video.frames():
            if frame.time > last + limits.video_every:
                return
            if frame.time > 0 and time.monotonic() > until:  # one frame at least, or there is no file
                note = f"The annotated video ends after {frame.time:.0f} seconds, because the video took too long."
                return
            pixels = shrunk_to(frame.pixels, LONGEST)
            by = pixels.shape[0] / frame.pixels.shape[0]
            seen = [tag for track in found["tracks"] if (tag := at(track, frame.time, limits.video_every))]
            tags = [(Box(*(round(edge * by) for edge in box)), text, label) for box, text, label in seen]
            draw_into(pixels, tags, found["classes"])
            yield replace(frame, pixels=pixels)

    with open_video(source) as opened:
        found_sound, seconds = opened.sound, opened.expected / float(opened.rate)
        if seconds > last + 2 * limits.video_every:
            opened.sound = ""  # it would go on without pictures
        lost = found_sound and opened.sound not in SOUNDS
        write_video(out, opened, annotated(opened), lambda done, _: _progress(channel, done, opened, limits))
    return note or "The annotated video has no sound." * bool(lost)


def at(track: list[Sighting], now: float, every: float) -> tuple[list[float], str, str] | None:
    """Box, text and class of a face between two sightings, the box on its way from one to the other; None: not seen."""
    place = bisect_right(track, now, key=lambda sighting: sighting[0]) - 1
    if place < 0:
        return None
    time_, box, text, label = track[place]
    after = track[place + 1] if place + 1 < len(track) else None
    if after and after[0] - time_ < 1.9 * every:
        way = (now - time_) / (after[0] - time_)
        return (np.array(box) * (1 - way) + np.array(after[1]) * way).tolist(), text, label
    return ([float(edge) for edge in box], text, label) if now - time_ < every else None


def _progress(channel: BinaryIO, done: int, video: Video, limits: AppConfig) -> None:
    if done % 10 == 0:
        send(channel, {"share": _share(done, video, limits)})


def _share(done: int, video: Video, limits: AppConfig) -> float:
    """How much of the frames that the limits allow is done, from 0 to 1."""
    expected = min(video.expected or 1, limits.video_seconds * float(video.rate))
    return min(done / max(expected, 1.0), 1.0)


def _refuse_too_large(height: int, width: int, limits: AppConfig) -> None:
    if height * width > limits.video_megapixels * 1e6:
        raise Refused(f"The pictures of a video may have at most {limits.video_megapixels:g} megapixels.", 413)


if __name__ == "__main__":
    main()
