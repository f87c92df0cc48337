"""A video with what its faces say drawn in, and a timeline beside it."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from mien.predict.annotate import draw_into
from mien.predict.predictor import FoundFaces, Predictor
from mien.video.ahead import ahead
from mien.video.read import Frame, Video, opened
from mien.video.timeline import Timeline, timeline_figure
from mien.video.track import SMOOTHING, Tracker
from mien.video.write import VideoWriter, writing
from mien.written_whole import written_whole

FRAMES_A_BATCH: Final = 8  # whose faces share a batch of the network
WAITING: Final = 8  # frames decoded before they are needed, and frames still to be encoded


@dataclass(frozen=True)
class VideoReport:
    """What came of a video."""

    frames: int
    seconds: float
    tracks: int
    with_a_face: int  # frames
    left_out: int  # faces beyond `max_faces`
    problem: str  # a sentence on what could not be read; "" if nothing
    sound_lost: bool  # it has sound of a kind that cannot be copied


def annotate_video(
    predictor: Predictor,
    source: Path,
    out: Path,
    *,
    smoothing: float = SMOOTHING,
    progress: Callable[[int, int], None] = lambda done, expected: None,
) -> VideoReport:
    """Write `out` (mp4), and beside it `OUT.timeline.csv` and `OUT.timeline.png`; each appears whole.

    Decoding and encoding run in threads of their own beside the detector and the network.

    Args:
        smoothing: seconds, the time constant of the probabilities that are drawn; 0 takes each frame's own.
        progress: told how many frames are done, and how many are expected (0: unknown).

    Raises:
        UserError: the source cannot be read, or the output cannot be written.
    """
    with opened(source) as video, written_whole(out) as part:
        run = _Run(predictor, video, Tracker(smoothing), progress)
        with writing(part, video) as writer:
            report = run.through(writer)
        table = run.timeline.table()
        with written_whole(timeline_file(out, ".csv")) as csv:
            table.to_csv(csv, index=False)
        with written_whole(timeline_file(out, ".png")) as png:
            png.write_bytes(timeline_figure(table, run.timeline.classes, source.name, report.seconds))
    return report


def timeline_file(out: Path, suffix: str) -> Path:
    """Where the timeline of a video stands: beside it."""
    return out.with_name(f"{out.stem}.timeline{suffix}")


class _Run:
    """One video on its way through."""

    def __init__(
        self, predictor: Predictor, video: Video, tracker: Tracker, progress: Callable[[int, int], None]
    ) -> None:
        self._predictor = predictor
        self._video = video
        self._tracker = tracker
        self._progress = progress
        self.timeline = Timeline(predictor.model.spec.classes, predictor.settings.unsure_below)
        self._done = self._with_a_face = self._left_out = 0
        self._last = 0.0

    def through(self, writer: VideoWriter) -> VideoReport:
        """Every frame, read, answered, drawn into and written; what came of it."""
        with ExitStack() as pools:
            decoder, encoder = (pools.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
            frames = ahead(self._video.frames(), WAITING, decoder)
            encoding: deque[Future[None]] = deque()
            while some := list(islice(frames, FRAMES_A_BATCH)):
                for frame in self._batch(some):
                    encoding.append(encoder.submit(writer.write, frame.pixels, frame.pts))
                while len(encoding) > WAITING:
                    encoding.popleft().result()
                self._progress(self._done, self._video.expected)
            for left in encoding:
                left.result()
        return self._report()

    def _batch(self, frames: list[Frame]) -> Iterator[Frame]:
        """The frames with what their faces say."""
        found = [self._predictor.find_faces(frame.pixels) for frame in frames]
        each = self._predictor.predict_each(found)
        for frame, faces, probabilities in zip(frames, found, each, strict=True):
            self._one(frame, faces, probabilities)
            yield frame

    def _one(self, frame: Frame, faces: FoundFaces, probabilities: np.ndarray) -> None:
        tracks = self._tracker.step([found.box for found in faces.detections], probabilities, frame.time)
        said = []
        for found, raw, track in zip(faces.detections, probabilities, tracks, strict=True):
            label, share, unsure = self.timeline.add(self._done, frame.time, found, raw, track)
            text = f"{track.number}  {'unsure: ' if unsure else ''}{label} {share:.0%}"
            said.append((found.box, text, label))
        draw_into(frame.pixels, said)
        self._done += 1
        self._with_a_face += bool(tracks)
        self._left_out += faces.left_out
        self._last = frame.time

    def _report(self) -> VideoReport:
        has_sound = bool(self._video.container.streams.audio)
        return VideoReport(
            frames=self._done,
            seconds=self._last + float(1 / self._video.rate),
            tracks=self._tracker.seen,
            with_a_face=self._with_a_face,
            left_out=self._left_out,
            problem=self._video.problem,
            sound_lost=has_sound and not self._video.sound_kept,
        )
