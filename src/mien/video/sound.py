"""The sound of a video, copied as it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

KEPT: Final = ("aac", "mp3", "opus")  # what browsers play in an mp4


class Sound:
    """Hands the packets on as far as the pictures have come, as a player wants them in the file."""

    def __init__(self, source: Any, container: Any) -> None:
        self._stream = container.add_stream_from_template(source.streams.audio[0])
        self._container = container
        self._packets = (packet for packet in source.demux(source.streams.audio[0]) if packet.dts is not None)
        self._next: Any = next(self._packets, None)

    def until(self, seconds: float) -> None:
        """Copy what sounds up to that time of the file."""
        while self._next is not None and float(self._next.dts * self._next.time_base) <= seconds:
            self._next.stream = self._stream
            self._container.mux(self._next)
            self._next = next(self._packets, None)


def kept_sound(stream: Any) -> bool:
    """Whether a sound stream can be copied."""
    return stream.codec_context.name.removesuffix("float") in KEPT


@contextmanager
def sound_of(file: Path, container: Any) -> Iterator[Sound]:
    """The sound of a file that is copied into an output container."""
    import av

    with av.open(f"file:{file}") as source:
        yield Sound(source, container)
