"""Expressions drawn into a video: faces followed from frame to frame, smoothed over time, and their timeline."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from mien.base.files import replacing
from mien.inference.annotation import COLOURS, OTHER, draw_into
from mien.inference.predictor import FoundFaces, Predictor
from mien.inference.video import Frame, Video, open_video, prefetch, write_video
from mien.runtime.cut import Box
from mien.sources.detect import Detection

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FRAMES_A_BATCH: Final = 8  # whose faces share a batch of the network
PREFETCHED: Final = 8  # frames that are decoded, and frames that are annotated, before they are needed
MIN_OVERLAP: Final = 0.3  # intersection over union of the boxes of one face in successive frames
FORGOTTEN: Final = 0.5  # seconds after which a face that comes back counts as another
SMOOTHING: Final = 0.5  # seconds: the time constant
COLUMNS: Final = ["frame", "time", "track", "top", "left", "right", "bottom", "score", "label", "unsure"]
PLOTTED: Final = 6  # tracks, the longest ones
GAP: Final = 0.5  # seconds without a face, from which its line is broken
DARKER: Final = {"#f0e442": "#b8a800", "#c8c8c8": "#66707d"}  # yellow and light grey are too pale for a line on white


@dataclass(frozen=True)
class VideoReport:
    """The outcome of annotating a video."""

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

    Decoding, prediction and encoding run in a thread each.

    Args:
        predictor: finds the faces and their expressions.
        source: a video file.
        out: where the annotated video goes.
        smoothing: seconds, the time constant of the probabilities that are drawn; 0 takes each frame's own.
        progress: called with how many frames are done, and how many are expected (0: unknown).

    Raises:
        UserError: the source cannot be read, or the output cannot be written.
    """
    with open_video(source) as video, replacing(out) as part:
        annotator = _Annotator(predictor, smoothing)
        with (
            write_video(part, video) as writer,
            closing(prefetch(video.frames(), PREFETCHED)) as frames,
            closing(prefetch(annotator.annotated(frames), PREFETCHED)) as annotated,
        ):
            for done, frame in enumerate(annotated, start=1):
                writer.write(frame.pixels, frame.pts)
                progress(done, video.expected)
        report = annotator.report(video)
        table = annotator.timeline.table()
        with replacing(timeline_file(out, ".csv")) as csv:
            table.to_csv(csv, index=False)
        with replacing(timeline_file(out, ".png")) as png:
            png.write_bytes(timeline_figure(table, annotator.timeline.classes, source.name, report.seconds))
    return report


def timeline_file(out: Path, suffix: str) -> Path:
    """The file of a video's timeline, beside the video."""
    return out.with_name(f"{out.stem}.timeline{suffix}")


class _Annotator:
    """Draws faces into frames, and keeps count of them."""

    def __init__(self, predictor: Predictor, smoothing: float) -> None:
        self.timeline = Timeline(predictor.model.spec.classes, predictor.settings.unsure_below)
        self._predictor = predictor
        self._tracker = Tracker(smoothing)
        self._frames = self._with_a_face = self._left_out = 0
        self._last = 0.0

    def annotated(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """The frames, with their faces drawn in."""
        while batch := list(islice(frames, FRAMES_A_BATCH)):
            found = [self._predictor.find_faces(frame.pixels) for frame in batch]
            each = self._predictor.probabilities(found)
            for frame, faces, probabilities in zip(batch, found, each, strict=True):
                self._annotate(frame, faces, probabilities)
                yield frame

    def _annotate(self, frame: Frame, faces: FoundFaces, probabilities: np.ndarray) -> None:
        tracks = self._tracker.step([face.box for face in faces.detections], probabilities, frame.time)
        tags = []
        for face, raw, track in zip(faces.detections, probabilities, tracks, strict=True):
            label, share, unsure = self.timeline.add(self._frames, frame.time, face, raw, track)
            tags.append((face.box, f"{track.number}  {'unsure: ' if unsure else ''}{label} {share:.0%}", label))
        draw_into(frame.pixels, tags)
        self._frames += 1
        self._with_a_face += bool(tracks)
        self._left_out += faces.left_out
        self._last = frame.time

    def report(self, video: Video) -> VideoReport:
        """The outcome, once all frames have been annotated."""
        return VideoReport(
            frames=self._frames,
            seconds=self._last + float(1 / video.rate),
            tracks=self._tracker.seen,
            with_a_face=self._with_a_face,
            left_out=self._left_out,
            problem=video.problem,
            sound_lost=video.has_sound and not video.can_copy_sound,
        )


@dataclass
class Track:
    """One face over time."""

    number: int  # from 1, in the order of appearance
    box: Box
    time: float  # seconds, of the last sighting
    probabilities: np.ndarray  # (classes,) smoothed

    def follow(self, box: Box, time: float, raw: np.ndarray, constant: float) -> None:
        """Add a later sighting, by exponential smoothing for samples at irregular times.

        After `constant` seconds an old answer counts for 1/e, whatever the frame rate (Zumbach and Müller, 2001).
        """
        weight = math.exp(-(time - self.time) / constant) if constant else 0.0
        self.probabilities = weight * self.probabilities + (1 - weight) * raw
        self.box, self.time = box, time


class Tracker:
    """Matches the faces of each frame with those before by the overlap of their boxes.

    All are matched at once, with the largest sum of overlaps (Kuhn, 1955; as in SORT: Bewley et al., 2016). A face
    that is not seen for half a second is forgotten.
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        if smoothing < 0:
            raise ValueError(f"smoothing is a time in seconds, 0 or more, not {smoothing:g}")
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self.seen = 0  # tracks so far

    def step(self, boxes: list[Box], probabilities: np.ndarray, time: float) -> list[Track]:
        """The track of each box of a frame, its probabilities smoothed; the frames come in the order of time."""
        self._tracks = [track for track in self._tracks if time - track.time <= FORGOTTEN]
        matches = self._matches(boxes)
        tracks = []
        for i, (box, raw) in enumerate(zip(boxes, probabilities, strict=True)):
            track = matches.get(i)
            if track is None:
                self.seen += 1
                track = Track(self.seen, box, time, raw.copy())
                self._tracks.append(track)
            else:
                track.follow(box, time, raw, self._smoothing)
            tracks.append(track)
        return tracks

    def _matches(self, boxes: list[Box]) -> dict[int, Track]:
        """The track of each box that continues one, by the box's position."""
        if not boxes or not self._tracks:
            return {}
        shared = np.array([[overlap(box, track.box) for track in self._tracks] for box in boxes])
        rows, columns = linear_sum_assignment(shared, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if shared[row, column] >= MIN_OVERLAP
        }


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    height = max(min(a.bottom, b.bottom) - max(a.top, b.top), 0)
    width = max(min(a.right, b.right) - max(a.left, b.left), 0)
    union = sum((box.bottom - box.top) * (box.right - box.left) for box in (a, b)) - height * width
    return height * width / union if union else 0.0


class Timeline:
    """A row for each face of each frame."""

    def __init__(self, classes: Sequence[str], unsure_below: float) -> None:
        self.classes = list(classes)
        self._unsure_below = unsure_below
        self._rows: list[list[Any]] = []

    def add(self, frame: int, time: float, face: Detection, raw: np.ndarray, track: Track) -> tuple[str, float, bool]:
        """Add a face; its label, that label's smoothed probability, and whether it is unsure."""
        smooth = track.probabilities
        label, share = self.classes[int(smooth.argmax())], float(smooth.max())
        unsure = share < self._unsure_below
        place = [frame, round(time, 6), track.number, *face.box, face.score, label, unsure]
        self._rows.append([*place, *smooth.round(6).tolist(), *raw.round(6).tolist()])
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
    time = rows["time"].to_numpy()
    breaks = np.flatnonzero(np.diff(time) > GAP) + 1
    for name in classes:
        shares = np.insert(rows[name].to_numpy(float), breaks, np.nan)
        colour = COLOURS.get(name, OTHER)
        axes.plot(np.insert(time, breaks, np.nan), shares, color=DARKER.get(colour, colour), label=name, linewidth=2)
    axes.grid(axis="y")
