"""Cropping: faces are chosen by confidence, each photo is decoded once, its faces are packed in the table's order."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import pandas as pd
from annotated_types import Ge, Le

from mien.base.classes import EXPRESSIONS, count_labels
from mien.base.errors import UserError
from mien.base.settings import STRICT, Count, Positive, Seed
from mien.crop.packed import COLUMNS, INDEX, PIXELS, SPEC, face_writer, faces_digest
from mien.runtime.cut import Box, BoxOutside, cut_face, face_box
from mien.runtime.decode import UnreadablePhoto, decode_pixels, read_header
from mien.runtime.spec import CutSpec
from mien.sources.fingerprints import BOX, each_photo, hashed, photo_keys, rows_by_photo, short_digest
from mien.sources.photos import PhotoMissing, Photos
from mien.sources.source import PROBLEM_COLUMNS

QUARANTINE: Final = "quarantine.csv"
UNKNOWN: Final = "unknown"  # the class of a row whose label could not be read


@dataclass(frozen=True)
class CropConfig:
    """How photos become faces of one size."""

    __pydantic_config__ = STRICT

    size: Annotated[int, Ge(16), Le(512)] = 64  # pixels; faces are size x size
    colour: Literal["rgb", "grey"] = "rgb"  # grey is one channel
    min_confidence: float = 30.0  # keep faces above it; a face without a confidence is kept
    max_rows: Count = 0  # 0: all; else a random sample of so many rows after the filter
    sample_seed: Seed = 42  # of max_rows
    margin: Annotated[float, Ge(0), Le(2)] = 0.0  # added on each side, as a share of the box's size
    square: bool = False  # widen the shorter side, so that the face is not stretched
    max_megapixels: Positive = 100.0  # a larger photo is quarantined unread
    workers: Count = 0  # 0: one per core

    @property
    def cut(self) -> CutSpec:
        """How each face is cut."""
        return CutSpec(self.size, self.colour, self.margin, self.square)


@dataclass(frozen=True)
class CropCounts:
    """Counts by class name, in the order of the classes."""

    photos: int  # that gave a face
    faces: int
    kept: dict[str, int]
    dropped: dict[str, dict[str, int]]  # reason -> class -> faces
    clamped: int  # faces whose box left the photo in part
    dropped_total: int

    def table(self) -> pd.DataFrame:
        """Columns `label`, `outcome` ("kept" or a reason) and `faces`, a row per pair that occurs."""
        outcomes = {"kept": self.kept, **self.dropped}
        rows = [(label, outcome, n) for outcome, classes in outcomes.items() for label, n in classes.items()]
        return pd.DataFrame(rows, columns=["label", "outcome", "faces"])


@dataclass
class PhotoFaces:
    """The outcome of one photo: each of the rows that name it is kept or dropped."""

    digest: str = ""  # of the photo's bytes
    kept: list[tuple[int, Box, np.ndarray]] = field(default_factory=list)  # row, box in the photo, (H, W, C) uint8
    dropped: list[tuple[str, int, str]] = field(default_factory=list)  # reason, row, sentence
    clamped: int = 0  # faces whose box left the photo in part


def crop_faces(
    faces: pd.DataFrame,
    photos: Photos,
    config: CropConfig,
    out: Path,
    progress: bool = True,
    *,
    classes: Sequence[str] = EXPRESSIONS,
    problems: pd.DataFrame | None = None,
) -> CropCounts:
    """Cut the faces of a faces table and write faces.npy, index.parquet, quarantine.csv and crop.json into `out`.

    The packed faces are in the order in which the table first names their photos. Every row that gave no face is
    in quarantine.csv with its reason, after the `problems` that the source had found. `classes` are the names of the
    labels 0, 1, ... Memory does not grow with the photos, except for the table and the index, about 1 kB a face. A
    UserError where no row passes the filter, or none of those that did could be cut.
    """
    selected, left_out = select_faces(faces, config, classes)
    kept: list[tuple[int, Box, str, str]] = []  # row of `selected`, box, digests of photo and face
    dropped: list[tuple[str, int, str]] = []
    clamped = 0
    boxes = selected[BOX].to_numpy()
    images, rows_of = rows_by_photo(selected)

    def cut(i: int) -> PhotoFaces:
        return cut_photo(photos, images[i], rows_of[i].tolist(), boxes[rows_of[i]], config)

    with face_writer(out / PIXELS, (config.size, config.size, config.cut.channels)) as append:
        for photo in each_photo(cut, len(images), "crop", workers=config.workers, progress=progress):
            for row, box, face in photo.kept:
                append(face)
                kept.append((row, box, photo.digest, short_digest(face.tobytes())))
            dropped += photo.dropped
            clamped += photo.clamped
    reasons, rows, details = zip(*sorted(dropped), strict=True) if dropped else ((), (), ())
    uncut = problem_rows(selected.iloc[list(rows)], classes, reasons, details)
    quarantine = pd.concat([problems, left_out, uncut], ignore_index=True)
    if not kept:
        counts = ", ".join(f"{n:,} {reason}" for reason, n in quarantine["reason"].value_counts().items())
        raise UserError(f"none of {len(selected):,} faces could be cut: {counts}; is the path in conf/data right?")
    index = _index(selected, kept)
    index.to_parquet(out / INDEX, index=False)
    quarantine.to_csv(out / QUARANTINE, index=False)
    spec = {"cut": asdict(config.cut), "classes": classes, "n": len(index), "digest": faces_digest(index)}
    (out / SPEC).write_text(json.dumps(spec, indent=2) + "\n")
    return _count(index, quarantine, classes, clamped)


def _index(selected: pd.DataFrame, kept: list[tuple[int, Box, str, str]]) -> pd.DataFrame:
    rows, boxes, photo_digests, face_digests = zip(*kept, strict=True)
    edges = np.array(boxes, np.int32)
    columns = {
        "row": np.arange(len(kept), dtype=np.int64),
        **{name: edges[:, i] for i, name in enumerate(BOX)},
        "face_size": np.minimum(edges[:, 3] - edges[:, 0], edges[:, 2] - edges[:, 1]),
        "photo_digest": list(photo_digests),
        "face_digest": list(face_digests),
    }
    return selected.iloc[list(rows)].reset_index(drop=True).assign(**columns)[list(COLUMNS)]


def cut_photo(photos: Photos, image: str, rows: list[int], boxes: np.ndarray, config: CropConfig) -> PhotoFaces:
    """The faces of a photo: `boxes` (len(rows), 4) are integers, top, left, right, bottom, and `rows` their numbers."""
    outcome = PhotoFaces()
    placed: list[tuple[int, Box]] = []
    try:
        data = photos.read(image)
        outcome.digest = short_digest(data)
        header = read_header(data, max_megapixels=config.max_megapixels)
        for row, box in zip(rows, boxes.tolist(), strict=True):
            try:
                inside = face_box(box, header.height, header.width, margin=config.margin, square=config.square)
            except BoxOutside as error:
                outcome.dropped.append(("box_outside", row, str(error)))
                continue
            top, left, right, bottom = box
            outcome.clamped += right > header.width or bottom > header.height or (min(top, left) < 0 < right)
            placed.append((row, inside))
        if not placed:
            return outcome
        photo = decode_pixels(data, header)
    except PhotoMissing as error:
        outcome.dropped = [(error.reason, row, str(error)) for row in rows]
    except UnreadablePhoto as error:
        outcome.dropped += [(error.reason, row, error.detail) for row in [row for row, _ in placed] or rows]
    else:
        outcome.kept = [(row, box, cut_face(photo, box, config.cut)) for row, box in placed]
    return outcome


def _count(index: pd.DataFrame, quarantine: pd.DataFrame, classes: Sequence[str], clamped: int) -> CropCounts:
    dropped: dict[str, dict[str, int]] = {}
    for reason, rows in quarantine.groupby("reason", sort=True):
        counts = rows["label"].where(rows["label"].isin(classes), UNKNOWN).value_counts()
        dropped[str(reason)] = {name: int(counts[name]) for name in (*classes, UNKNOWN) if name in counts}
    kept, total = count_labels(index["label"], classes), sum(sum(counts.values()) for counts in dropped.values())
    return CropCounts(index["image"].nunique(), len(index), kept, dropped, clamped, total)


def select_faces(
    faces: pd.DataFrame, config: CropConfig, classes: Sequence[str] = EXPRESSIONS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to cut, in the table's order, and the rows left out, as a problems table.

    A face is kept where its confidence is above `min_confidence` or missing. `max_rows` then takes the
    first by a hash of photo, box and `sample_seed`: a face more in the table moves at most one other. Where no row is
    left, a UserError names the threshold, the count and the highest confidence.
    """
    confidence, threshold = faces["confidence"], config.min_confidence
    low = (confidence <= threshold).to_numpy()
    if low.all():
        least = f"above min_confidence {threshold:g}"
        raise UserError(f"none of {len(faces):,} faces has a confidence {least}: the highest is {confidence.max():g}.")
    chosen = above = np.flatnonzero(~low)
    if 0 < config.max_rows < len(above):
        drawn = faces.iloc[above]
        boxes = drawn[BOX].astype(str).agg(" ".join, axis=1)
        order = np.argsort(hashed(photo_keys(drawn) + " " + boxes, config.sample_seed), kind="stable")
        chosen = np.sort(above[order[: config.max_rows]])
    details = [f"confidence {value:g} is not above min_confidence {threshold:g}" for value in confidence[low]]
    left_out = (
        problem_rows(faces[low], classes, "low_confidence", details),
        problem_rows(faces.iloc[np.setdiff1d(above, chosen)], classes, "not_sampled", f"max_rows is {config.max_rows}"),
    )
    return faces.iloc[chosen].reset_index(drop=True), pd.concat(left_out, ignore_index=True)


def problem_rows(
    faces: pd.DataFrame, classes: Sequence[str], reasons: str | Sequence[str], details: str | Sequence[str]
) -> pd.DataFrame:
    """Rows of the faces table as rows of the problems table, for one reason or one each; `where` is the photo."""
    labels = [classes[label] for label in faces["label"]]
    columns = {"where": faces["image"], "face_id": faces["face_id"], "image": faces["image"]}
    table = pd.DataFrame(columns).assign(label=labels, reason=reasons, detail=details)
    return table[list(PROBLEM_COLUMNS)].astype("str").reset_index(drop=True)
