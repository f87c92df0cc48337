"""Answers to a visitor's video, which a process of its own decodes: some frames a second, joined into tracks."""

import asyncio
import dataclasses
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
from anyio import CapacityLimiter, to_thread

from mien.app.answers import Answerer, about, data_uri, face_thumbnail
from mien.app.turns import Refused, Turns
from mien.inference.annotation import PLOTTED, Timeline, Tracker
from mien.sources.detect import Detection

if TYPE_CHECKING:
    import pandas as pd

Message = dict[str, Any]
GRACE: Final = 15.0  # seconds beyond `video_work_seconds` after which the process is killed
LINE: Final = 1_000_000  # bytes of a message of the process
ENDED: Final = "This video could not be decoded: it is damaged, or needs too much memory or time."
# One thread for each library: all of their threads' stacks would count as memory.
FEW_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Clips:
    """A folder of videos that stays small, and what watches them."""

    def __init__(self, answerer: Answerer, folder: Path) -> None:
        limits = answerer.limits
        self._answerer = answerer
        self._folder = folder
        self._turns = Turns(limits.at_once, limits.queue, limits.wait_seconds)
        self._threads = CapacityLimiter(limits.at_once + limits.queue + 8)

    async def save(self, body: AsyncIterator[bytes]) -> Path:
        """The file of a video that arrives; Refused where the disk holds too many already."""
        if sum(file.stat().st_size for file in self._folder.iterdir()) > self._answerer.limits.disk_megabytes * 1e6:
            raise Refused("Too many videos at once; please try again in a minute.", 503)
        file = self._folder / secrets.token_urlsafe(18)
        try:
            with file.open("xb") as out:
                async for part in body:
                    out.write(part)
        except BaseException:  # a client that left among them
            file.unlink()
            raise
        return file

    def annotated(self, name: str) -> BinaryIO:
        """The annotated video of that name, open; Refused where there is none, or none any more."""
        for file in self._folder.glob("*.mp4"):
            if file.name == name:
                with suppress(FileNotFoundError):
                    return file.open("rb")
        raise Refused("This video is gone; please send it again.", 404)

    async def watch(self, source: Path) -> AsyncIterator[Message]:
        """What a video gives, as it comes; the file goes at the end, whatever that is.

        `{"share": 0.2}` on the way; the timeline; `{"share": 0.6}`; and `{"video": NAME, "note": ""}` of the annotated
        file, which is kept for `keep_seconds`. Refused for what is no video, and where a limit is passed.
        """
        out, done = source.with_suffix(".part"), source.with_suffix(".mp4")
        watching = _Watching(self._answerer, source, out)
        steps = watching.messages(self._turns)
        try:
            while message := await to_thread.run_sync(next, steps, None, abandon_on_cancel=True, limiter=self._threads):
                if "video" in message:
                    out.rename(done)
                    keep = self._answerer.limits.keep_seconds
                    asyncio.get_running_loop().call_later(keep, lambda: done.unlink(missing_ok=True))
                    message["video"] = done.name
                yield message
        finally:
            watching.close()
            for file in (source, out):
                file.unlink(missing_ok=True)


class _Watching:
    """One video on its way through."""

    def __init__(self, answerer: Answerer, source: Path, out: Path) -> None:
        self._answerer = answerer
        self._files = source, out
        self._model = answerer.current.model  # the same one to the end, whoever is promoted meanwhile
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process, whatever it does; none begins any more."""
        self._closed = True
        if self._process:
            self._process.kill()

    def messages(self, turns: Turns) -> Iterator[Message]:
        """As of `Clips.watch`."""
        try:
            with turns.turn(), self._worker() as process:
                drawn: dict[int, list[Any]] = {}  # of each track what is drawn, and when
                if not (yield from self._look(process, drawn)):
                    return
                told = json.dumps({"classes": self._model.spec.classes, "tracks": list(drawn.values())})
                assert process.stdin
                process.stdin.write(told.encode() + b"\n")
                process.stdin.flush()
                while "written" not in (message := _receive(process)):
                    yield {"share": 0.5 + message["share"] / 2}
                yield {"video": "", "note": message["written"]}
        except (EOFError, BrokenPipeError) as error:  # it was killed, or ran out of memory
            raise Refused(ENDED, 415) from error

    def _look(self, process: "subprocess.Popen[bytes]", drawn: dict[int, list[Any]]) -> Generator[Message, None, int]:
        """Yield messages up to the timeline; the number of frames that were analysed."""
        tracker, timeline = Tracker(), Timeline(self._model.spec.classes, self._answerer.photos.unsure_below)
        best: dict[int, tuple[int, str]] = {}  # of a track its largest face: the shorter side, and the picture
        pictures, seconds = 0, 0.0
        while "end" not in (message := _receive(process)):
            pixels, seconds = _pixels(process, *message["shape"]), message["time"]
            faces = self._answerer.look(pixels, self._model).faces
            raw = np.array([list(face.probabilities.values()) for face in faces])
            tracks = tracker.step([face.box for face in faces], raw, seconds)
            for face, row, track in zip(faces, raw, tracks, strict=True):
                number, side = track.number, face.box.shorter_side
                smooth = timeline.add(pictures, seconds, Detection(face.box, face.score), row, track)
                drawn.setdefault(number, []).append([seconds, face.box, smooth.caption(number), smooth.label])
                if side > best.get(number, (0, ""))[0]:
                    best[number] = side, data_uri(face_thumbnail(pixels, face.box))
            pictures += 1
            yield {"share": message["share"] / 2}
        table = timeline.table()
        longest = sorted(table["track"].value_counts().head(PLOTTED).index)
        yield {
            **about(self._model),
            "note": message["end"] if longest else f"No face found in this video. {message['end']}".strip(),
            "pictures": pictures,
            "seconds": seconds,
            "faces": [self._mean(table, number) | {"picture": best[number][1]} for number in longest],
            # The columns and rows of `mien video`; the score of a detector that gives none is null.
            "timeline": json.loads(table.to_json(orient="split", index=False)),
        }
        return pictures

    def _mean(self, table: "pd.DataFrame", track: int) -> Message:
        names = self._model.spec.classes
        mean = table.loc[table["track"] == track, [f"{name}_raw" for name in names]].mean()
        unsure = bool(mean.max() < self._answerer.photos.unsure_below)
        shares = dict(zip(names, mean.tolist(), strict=True))
        return {"face": int(track), "label": names[mean.argmax()], "unsure": unsure, "probabilities": shares}

    @contextmanager
    def _worker(self) -> "Iterator[subprocess.Popen[bytes]]":
        """The process, which lives no longer than its time, nor than this block."""
        limits = self._answerer.limits
        told = json.dumps(dataclasses.asdict(limits))
        command = [sys.executable, "-P", "-m", "mien.app.clip_worker", *map(str, self._files), told]
        pipe, environment = subprocess.PIPE, {**os.environ, **FEW_THREADS}
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as process:
            self._process = process
            if self._closed:
                process.kill()
            too_late = threading.Timer(limits.video_work_seconds + GRACE, process.kill)
            too_late.start()
            try:
                yield process
            finally:
                too_late.cancel()
                process.kill()


def _receive(process: "subprocess.Popen[bytes]") -> Message:
    """The next message of the process; Refused where it says why there is none, EOFError where it has ended."""
    assert process.stdout
    line = process.stdout.readline(LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    message: Message = json.loads(line)
    if "error" in message:
        raise Refused(message["error"], message["status"])
    return message


def _pixels(process: "subprocess.Popen[bytes]", height: int, width: int) -> np.ndarray:
    assert process.stdout
    data = process.stdout.read(height * width * 3)
    if len(data) < height * width * 3:
        raise EOFError
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)
