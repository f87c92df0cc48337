"""Answers to a visitor's video: some frames per second, joined into tracks."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.app.answers import Answerer
from mien.app.pictures import face_thumbnail
from mien.app.turns import Refused
from mien.base.errors import UserError
from mien.inference.annotation import PLOTTED, Timeline, Track, Tracker, timeline_figure
from mien.inference.classifier import LoadedModel
from mien.inference.predictor import FacePrediction
from mien.inference.video import Frame, Video, open_video
from mien.sources.detect import Detection

if TYPE_CHECKING:
    import pandas as pd

TITLE: Final = "What the faces show"


@dataclass
class Seen:
    """One face of a video."""

    face: FacePrediction  # where it is largest, with the mean of its probabilities
    picture: np.ndarray  # (144, 144, 3) uint8 RGB, from there


@dataclass(frozen=True)
class Watched:
    """What a video gave."""

    model: LoadedModel
    faces: list[Seen]  # that were seen longest, in the order of their appearance
    timeline: bytes  # a PNG
    pictures: int  # that were looked at
    seconds: float  # of the video that they cover
    note: str  # a sentence on what is missing; "" if nothing is


def watch(answerer: Answerer, file: Path) -> Watched:
    """The faces of a video file.

    Raises:
        Refused: it is no video, too long or too large, or too many wait already.
    """
    limits = answerer.limits
    if file.stat().st_size > limits.video_megabytes * 1e6:
        raise Refused(f"A video may have at most {limits.video_megabytes:g} MB.", 413)
    try:
        with open_video(file) as video:
            _refuse_too_large(video, limits.video_megapixels)
            return _Watching(answerer).through(video)
    except Refused:
        raise
    except UserError as error:  # names the file, of which a visitor should not know where it lies
        raise Refused(str(error).replace(f"{file}: ", "This video "), 415) from error


def _refuse_too_large(video: Video, megapixels: float) -> None:
    width, height = video.stream.width, video.stream.height
    if width * height > megapixels * 1e6:
        raise Refused(f"The pictures of a video may have at most {megapixels:g} megapixels.", 413)


class _Watching:
    """One video on its way through."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._model = answerer.current.model  # the same one to the end, whoever is promoted meanwhile
        self._tracker = Tracker()
        self._timeline = Timeline(self._model.spec.classes, answerer.photos.unsure_below)
        self._best: dict[int, Seen] = {}  # by track
        self._pictures = 0
        self._last = 0.0

    def through(self, video: Video) -> Watched:
        """Its pictures, as many as the limits allow; what they gave."""
        limits, note = self._answerer.limits, ""
        until = time.monotonic() + limits.video_work_seconds
        for frame in video.frames(limits.video_every):
            if frame.time > limits.video_seconds:
                note = f"Only the first {limits.video_seconds:g} seconds were analysed."
                break
            if time.monotonic() > until:
                note = f"Only the first {self._last:.0f} seconds were analysed, because the video took too long."
                break
            self._one(frame)
        return self._watched(note)

    def _one(self, frame: Frame) -> None:
        answer = self._answerer.look(frame.pixels, self._model)
        raw = np.array([list(face.probabilities.values()) for face in answer.faces])
        tracks = self._tracker.step([face.box for face in answer.faces], raw, frame.time)
        for face, row, track in zip(answer.faces, raw, tracks, strict=True):
            self._timeline.add(self._pictures, frame.time, Detection(face.box, face.score), row, track)
            self._keep_largest(frame, face, track)
        self._pictures, self._last = self._pictures + 1, frame.time

    def _keep_largest(self, frame: Frame, face: FacePrediction, track: Track) -> None:
        best = self._best.get(track.number)
        if best is None or face.box.shorter_side > best.face.box.shorter_side:
            picture = face_thumbnail(frame.pixels, frame.pixels.shape[0], face.box)
            self._best[track.number] = Seen(face, picture)

    def _watched(self, note: str) -> Watched:
        table = self._timeline.table()
        longest = sorted(table["track"].value_counts().head(PLOTTED).index)
        faces = [Seen(self._mean(table, number), self._best[number].picture) for number in longest]
        if not faces:
            note = f"No face found in this video. {note}".strip()
        png = timeline_figure(table, self._timeline.classes, TITLE, self._last) if faces else b""
        return Watched(self._model, faces, png, self._pictures, self._last, note)

    def _mean(self, table: "pd.DataFrame", track: int) -> FacePrediction:
        names = self._timeline.classes
        mean = table.loc[table["track"] == track, [f"{name}_raw" for name in names]].mean().to_numpy()
        box = self._best[track].face.box
        return FacePrediction.of(Detection(box), mean, names, self._answerer.photos.unsure_below)
