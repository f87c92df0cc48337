"""Expressions in a video: every frame annotated, and a timeline."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.base.files import written_whole
from mien.inference.annotation import draw_into
from mien.inference.predictor import FoundFaces, Predictor
from mien.inference.tracks import SMOOTHING, Track, Tracker
from mien.inference.video import Frame, Video, VideoWriter, ahead, opened, writing
from mien.sources.detect import Detection

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS: Final = ["frame", "time", "track", "top", "left", "right", "bottom", "score", "label", "unsure"]
PLOTTED: Final = 6  # tracks, the longest ones
GAP: Final = 0.5  # seconds without a face, from which its line is broken


class Timeline:
    """A row for each face of each frame."""

    def __init__(self, classes: Sequence[str], unsure_below: float) -> None:
        self.classes = list(classes)
        self._unsure_below = unsure_below
        self._rows: list[list[Any]] = []

    def add(self, frame: int, time: float, found: Detection, raw: np.ndarray, track: Track) -> tuple[str, float, bool]:
        """Note a face; its label, that label's smoothed probability, and whether it is unsure."""
        smooth = track.probabilities
        label, share = self.classes[int(smooth.argmax())], float(smooth.max())
        unsure = share < self._unsure_below
        where = [frame, round(time, 6), track.number, *found.box, found.score, label, unsure]
        self._rows.append([*where, *smooth.round(6).tolist(), *raw.round(6).tolist()])
        return label, share, unsure

    def table(self) -> "pd.DataFrame":
        """`frame` from 0, `time` in seconds, `track`, the box, the detector's score, `label`, `unsure`, and of each
        class its smoothed probability (`happy`) and that of the frame alone (`happy_raw`)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=[*COLUMNS, *self.classes, *(f"{name}_raw" for name in self.classes)])


def timeline_figure(table: "pd.DataFrame", classes: Sequence[str], title: str, seconds: float) -> bytes:
    """A PNG: of each of the longest tracks the smoothed probabilities over time."""
    from mien.reporting.style import LIGHT, drawing, headline, png

    tracks = table["track"].value_counts().head(PLOTTED).index.sort_values().tolist()
    with drawing(LIGHT, 12, 2.2 + 2.4 * max(len(tracks), 1)) as figure:
        panels = figure.subplots(max(len(tracks), 1), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, track in zip(panels, tracks, strict=False):
            _plot_track(axes, table[table["track"] == track], classes)
            axes.set_ylabel(f"face {track}")
        shown = len(tracks)
        n = table["track"].nunique()
        which = f"{n} face{'s' * (n != 1)}" if n == shown else f"the {shown} faces seen longest, of {n}"
        headline(panels[0], title, f"Smoothed probability of each expression over time, {which}")
        panels[0].set_ylim(0, 1)
        panels[0].set_xlim(0, max(seconds, 1e-3))
        panels[-1].set_xlabel("seconds")
        if tracks:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 8))
        return png(figure)


def _plot_track(axes: "Axes", rows: "pd.DataFrame", classes: Sequence[str]) -> None:
    from mien.inference.annotation import COLOURS, OTHER

    time = rows["time"].to_numpy()
    breaks = np.flatnonzero(np.diff(time) > GAP) + 1
    for name in classes:
        shares = np.insert(rows[name].to_numpy(float), breaks, np.nan)
        axes.plot(
            np.insert(time, breaks, np.nan), shares, color=_line(COLOURS.get(name, OTHER)), label=name, linewidth=2
        )
    axes.grid(axis="y")


def _line(colour: str) -> str:
    """Yellow and light grey are too pale for a line on white."""
    return {"#f0e442": "#b8a800", "#c8c8c8": "#66707d"}.get(colour, colour)


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
