"""Annotation of photos and videos: boxes with labels, tracked faces, and their timeline."""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from mien.base.classes import WITH_CONTEMPT
from mien.base.files import replacing
from mien.inference.predictor import FacePrediction, FoundFaces, Predictor
from mien.inference.video import SOUNDS, Frame, Progress, open_video, prefetch, write_video
from mien.runtime.cut import Box
from mien.sources.detect import Detection

if TYPE_CHECKING:
    import pandas as pd

# Okabe & Ito (2008), distinct for every colour vision.
COLOURS: Final = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "sad": "#0072b2",
    "surprise": "#e69f00",
    "neutral": "#c8c8c8",
}
OTHER: Final = "#56b4e9"
READABLE: Final = 480  # pixels: a smaller picture is enlarged before it is drawn on
SMALLEST_TEXT: Final = 13  # pixels
DARKER: Final = {"#f0e442": "#b8a800", "#c8c8c8": "#66707d"}  # for lines on white, where yellow and grey are too pale
LINE_STYLES: Final = ("-", "--", ":", "-.")  # of the first eight classes, the next eight, ...
FRAMES_A_BATCH: Final = 8  # whose faces share a batch of the network
PREFETCHED: Final = 8  # frames that are decoded, and frames that are annotated, before they are needed
MIN_OVERLAP: Final = 0.3  # intersection over union of the boxes of one face in successive frames
FORGOTTEN: Final = 0.5  # seconds after which a face that was missing counts as another, and its line is broken
SMOOTHING: Final = 0.5  # seconds: the time constant
COLUMNS: Final = ["frame", "time", "track", "top", "left", "right", "bottom", "score", "label", "unsure"]
PLOTTED: Final = 6  # tracks, the longest ones


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each class: an expression's own, for others those that are left, again and again."""
    colours = (*COLOURS.values(), OTHER)
    others = cycle([colour for colour in colours if colour not in map(COLOURS.get, classes)] or colours)
    return {name: COLOURS.get(name) or next(others) for name in classes}


def draw_faces(
    picture: np.ndarray, faces: Sequence[tuple[Box, str, str]], classes: Sequence[str] = WITH_CONTEMPT
) -> np.ndarray:
    """A copy of a picture (H, W, 3) uint8 RGB with a box and a tag for each (box, text, class), in the class's colour.

    The text's size follows the picture's and the face's; a picture below 480 pixels is enlarged by a whole number.
    """
    longest = max(picture.shape[:2])
    by = -(-READABLE // longest)
    drawn = cv2.resize(picture, None, fx=by, fy=by, interpolation=cv2.INTER_CUBIC) if by > 1 else picture.copy()
    draw_into(drawn, [(Box(*(edge * by for edge in box)), text, label) for box, text, label in faces], classes)
    return drawn


def draw_into(
    picture: np.ndarray, faces: Sequence[tuple[Box, str, str]], classes: Sequence[str] = WITH_CONTEMPT
) -> None:
    """Draw a box and a tag for each (box, text, class) into a picture (H, W, 3) uint8 RGB, as large as it is."""
    colours = class_colours(classes)
    longest = max(picture.shape[:2])
    smallest = max(SMALLEST_TEXT, longest // 90)
    line = max(2, round(longest / 500))
    for box, _, label in faces:
        corners = (box.left, box.top), (box.right - 1, box.bottom - 1)
        cv2.rectangle(picture, *corners, (0, 0, 0), line + 2)
        cv2.rectangle(picture, *corners, ImageColor.getrgb(colours[label])[:3], line)
    taken: list[Box] = []
    for box, text, label in faces:
        size = min(max((box.right - box.left) // 6, smallest), 3 * smallest)
        tag = _tag(text, colours[label], size)[: picture.shape[0], : picture.shape[1]]
        place = _place(tag, box, picture, taken)
        picture[place.top : place.bottom, place.left : place.right] = tag
        taken.append(place)


def _place(tag: np.ndarray, box: Box, picture: np.ndarray, taken: list[Box]) -> Box:
    """Above the face, below it or in it: the first place in the picture that hides no other tag, if there is one."""
    (height, width), (tall, wide) = picture.shape[:2], tag.shape[:2]
    left = min(max(box.left, 0), width - wide)
    tops = [top for top in (box.top - tall, box.bottom, box.top, box.bottom - tall) if 0 <= top <= height - tall]
    places = [Box(top, left, left + wide, top + tall) for top in tops or [0]]
    return next((place for place in places if not any(overlap(place, other) for other in taken)), places[0])


@lru_cache(maxsize=1024)  # a video repeats most of its tags from frame to frame
def _tag(text: str, colour: str, size: int) -> np.ndarray:
    """Text on its colour, (H, W, 3) uint8 RGB; `size` is its height in pixels."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox("Ag" + text)
    left, _, right, _ = font.getbbox(text)
    pad = max(size // 5, 2)
    tag = Image.new("RGB", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), colour)
    ink = "white" if colour == COLOURS["sad"] else "black"  # the one dark colour
    ImageDraw.Draw(tag).text((pad - left, pad - top), text, fill=ink, font=font)
    return np.asarray(tag)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    height = max(min(a.bottom, b.bottom) - max(a.top, b.top), 0)
    width = max(min(a.right, b.right) - max(a.left, b.left), 0)
    union = sum((box.bottom - box.top) * (box.right - box.left) for box in (a, b)) - height * width
    return height * width / union if union else 0.0


@dataclass
class Track:
    """One face over time."""

    number: int  # from 1, in the order of appearance
    box: Box
    time: float  # seconds, of the last sighting
    probabilities: np.ndarray  # (classes,) smoothed


class Tracker:
    """Matches the faces of each frame with those before by the overlap of their boxes.

    All are matched at once, with the largest sum of overlaps (Kuhn, 1955; as in SORT: Bewley et al., 2016). A face
    that a frame lacks is forgotten half a second after it was last seen. The probabilities are smoothed exponentially:
    after `smoothing` seconds an old answer counts for 1/e, whatever the frame rate (Zumbach and Müller, 2001).
    """

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        self._smoothing = smoothing
        self._tracks: list[Track] = []
        self._before = 0.0  # seconds, the time of the last frame
        self.seen = 0  # tracks so far

    def step(self, boxes: list[Box], probabilities: np.ndarray, time: float) -> list[Track]:
        """The track of each box of a frame, its probabilities smoothed; the frames come in the order of time."""
        from scipy.optimize import linear_sum_assignment  # photos are answered without SciPy

        known = [track for track in self._tracks if track.time >= self._before or time - track.time <= FORGOTTEN]
        overlaps = np.array([[overlap(box, track.box) for track in known] for box in boxes])
        overlaps = overlaps.reshape(len(boxes), len(known))
        pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        matches = {row: known[column] for row, column in pairs if overlaps[row, column] >= MIN_OVERLAP}
        tracks = []
        for row, (box, raw) in enumerate(zip(boxes, probabilities, strict=True)):
            track = matches.get(row)
            if track is None:
                self.seen += 1
                track = Track(self.seen, box, time, raw)
                known.append(track)
            weight = math.exp((track.time - time) / self._smoothing) if self._smoothing else 0.0
            track.probabilities = weight * track.probabilities + (1 - weight) * raw
            track.box, track.time = box, time
            tracks.append(track)
        self._tracks, self._before = known, time
        return tracks


class Timeline:
    """A row for each face of each frame."""

    def __init__(self, classes: Sequence[str], unsure_below: float) -> None:
        self.classes = list(classes)
        self.left_out = 0  # faces beyond `max_faces`
        self._unsure_below = unsure_below
        self._rows: list[list[Any]] = []

    def add(self, frame: int, time: float, face: Detection, raw: np.ndarray, track: Track) -> FacePrediction:
        """Add a face; what the smoothed probabilities of its track say of it."""
        smooth = FacePrediction.of(face, track.probabilities, self.classes, self._unsure_below)
        place = [frame, round(time, 6), track.number, *face.box, face.score, smooth.label, smooth.unsure]
        self._rows.append([*place, *track.probabilities.round(6).tolist(), *raw.round(6).tolist()])
        return smooth

    def table(self) -> "pd.DataFrame":
        """`frame` from 0, `time` in seconds, `track`, the box, the detector's score, `label`, `unsure`, and of each
        class its smoothed probability (`happy`) and that of the frame alone (`happy_raw`)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=[*COLUMNS, *self.classes, *(f"{name}_raw" for name in self.classes)])


def timeline_figure(table: "pd.DataFrame", classes: Sequence[str], title: str, seconds: float) -> bytes:
    """A PNG: of each of the longest tracks the smoothed probabilities over time."""
    from mien.reporting.style import LIGHT, drawing, headline, png

    sightings = table["track"].value_counts()
    tracks = sorted(sightings.index[:PLOTTED])
    rows, n = max(len(tracks), 1), len(sightings)
    colours = [DARKER.get(colour, colour) for colour in class_colours(classes).values()]
    styles = [LINE_STYLES[k // 8 % len(LINE_STYLES)] for k in range(len(classes))]
    columns = min(len(classes), max(1, 110 // (max(map(len, classes)) + 7)))  # of the legend
    with drawing(LIGHT, 12, 2.2 + 2.4 * rows + 0.3 * (-(-len(classes) // columns) - 1)) as figure:
        panels = figure.subplots(rows, 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, track in zip(panels, tracks, strict=False):
            seen = table[table["track"] == track]
            breaks = np.flatnonzero((seen["frame"].diff() > 1) & (seen["time"].diff() > FORGOTTEN))
            lines = np.insert(seen[["time", *classes]].to_numpy(float), breaks, np.nan, axis=0)
            axes.set_prop_cycle(color=colours, linestyle=styles)
            axes.plot(lines[:, 0], lines[:, 1:], label=classes, linewidth=2)
            axes.grid(axis="y")
            axes.set_ylabel(f"face {track}")
        which = f"{n} face{'s' * (n != 1)}" if n == len(tracks) else f"the {len(tracks)} faces seen longest, of {n}"
        headline(panels[0], title, f"Smoothed probability of each class over time, {which}")
        panels[0].set(xlim=(0, max(seconds, 1e-3)), ylim=(0, 1))
        panels[-1].set_xlabel("seconds")
        if tracks:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower center", ncols=columns)
        return png(figure)


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
    progress: Progress = lambda done, expected: None,
) -> VideoReport:
    """Write `out` (mp4), and beside it `OUT.timeline.csv` and `OUT.timeline.png`; each appears whole.

    Decoding, prediction and encoding run in a thread each. `smoothing` is the time constant, in seconds, of the
    probabilities that are drawn; 0 takes each frame's own. `progress` is called after each frame. A source that
    cannot be read, or an output that cannot be written, is a UserError.
    """
    with open_video(source) as video, replacing(out) as part:
        timeline = Timeline(predictor.model.spec.classes, predictor.settings.unsure_below)
        with (
            closing(prefetch(video.frames(), PREFETCHED)) as frames,
            closing(prefetch(_annotated(frames, predictor, Tracker(smoothing), timeline), PREFETCHED)) as annotated,
        ):
            write_video(part, video, annotated, progress)
        table, seconds = timeline.table(), video.last + float(1 / video.rate)
        with replacing(timeline_file(out, ".csv")) as csv:
            table.to_csv(csv, index=False)
        with replacing(timeline_file(out, ".png")) as png:
            png.write_bytes(timeline_figure(table, timeline.classes, source.name, seconds))
        faces = table["track"].nunique(), table["frame"].nunique(), timeline.left_out
        return VideoReport(video.read, seconds, *faces, video.problem, bool(video.sound) and video.sound not in SOUNDS)


def timeline_file(out: Path, suffix: str) -> Path:
    """The file of a video's timeline, beside the video."""
    return out.with_name(f"{out.stem}.timeline{suffix}")


def _annotated(frames: Iterator[Frame], predictor: Predictor, tracker: Tracker, timeline: Timeline) -> Iterator[Frame]:
    """The frames, with their faces drawn in and added to the timeline."""
    followed = follow_faces(frames, predictor, tracker)
    for number, (frame, faces, probabilities, tracks) in enumerate(followed):
        timeline.left_out += faces.left_out
        tags = []
        for face, raw, track in zip(faces.detections, probabilities, tracks, strict=True):
            smooth = timeline.add(number, frame.time, face, raw, track)
            tags.append((face.box, smooth.caption(track.number), smooth.label))
        draw_into(frame.pixels, tags, timeline.classes)
        yield frame


def follow_faces(
    frames: Iterator[Frame], predictor: Predictor, tracker: Tracker, batch: int = FRAMES_A_BATCH
) -> Iterator[tuple[Frame, FoundFaces, np.ndarray, list[Track]]]:
    """Each frame with its faces, their probabilities (N, classes) in it alone, and the tracks that they belong to.

    The tracks are those of this frame until the next is taken. `batch` frames share a batch of the network.
    """
    while together := list(islice(frames, batch)):
        found = [predictor.find_faces(frame.pixels) for frame in together]
        each = predictor.probabilities(found)
        for frame, faces, probabilities in zip(together, found, each, strict=True):
            boxes = [face.box for face in faces.detections]
            yield frame, faces, probabilities, tracker.step(boxes, probabilities, frame.time)
