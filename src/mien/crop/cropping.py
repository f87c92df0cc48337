"""Photos to packed faces: decode each photo once, cut all its faces."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.crop.packed import INDEX, PIXELS, SPEC, CropIndex, FaceWriter, faces_digest
from mien.crop.photo_faces import PhotoFaces, photo_faces
from mien.crop.selection import CropConfig, select_faces
from mien.runtime.decode import left_over_bytes_unmentioned
from mien.sources.photos import Photos

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, ahead: int = 4
) -> Iterator[Result]:
    """`work` of each task, in the tasks' order; at most `ahead` tasks a worker are begun and not yet taken.

    Threads, since OpenCV's decoding and resizing run without the interpreter's lock: as fast as processes
    here, and nothing is copied from one to another.
    """
    with _opencv_in_one_thread(), ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                begun.append(pool.submit(work, task))
                if len(begun) >= ahead * workers:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """N workers, each with OpenCV's own N threads, would fight for the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


UNKNOWN = "unknown"  # the class of a row whose label could not be read


@dataclass(frozen=True)
class CropCounts:
    """Counts by class name, in the order of the classes."""

    photos: int  # that gave a face
    faces: int
    kept: dict[str, int]
    dropped: dict[str, dict[str, int]]  # reason -> class -> faces
    clamped: int  # faces whose box left the photo in part
    reduced: dict[str, int]  # "1/2": photos decoded at half their size

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        total = sum(sum(classes.values()) for classes in self.dropped.values())
        return asdict(self) | {"dropped_total": total}

    def table(self) -> pd.DataFrame:
        """Columns `label`, `outcome` ("kept" or a reason) and `faces`, a row per pair that occurs."""
        rows = [{"label": label, "outcome": "kept", "faces": n} for label, n in self.kept.items()]
        for reason, classes in self.dropped.items():
            rows += [{"label": label, "outcome": reason, "faces": n} for label, n in classes.items()]
        return pd.DataFrame(rows)


def count_crops(
    index: pd.DataFrame, quarantine: pd.DataFrame, classes: tuple[str, ...], clamped: int, reduced: dict[int, int]
) -> CropCounts:
    """Counts from the index of packed faces and the quarantine."""
    labels = index["label"].value_counts()
    kept = {name: int(labels.get(i, 0)) for i, name in enumerate(classes)}
    dropped = {
        str(reason): _by_class(rows["label"], classes) for reason, rows in quarantine.groupby("reason", sort=True)
    }
    by = {f"1/{factor}": photos for factor, photos in sorted(reduced.items())}
    return CropCounts(index["image"].nunique(), len(index), kept, dropped, clamped, by)


def _by_class(labels: pd.Series, classes: tuple[str, ...]) -> dict[str, int]:
    counts = labels.replace("", UNKNOWN).value_counts()
    return {name: int(counts[name]) for name in (*classes, UNKNOWN) if name in counts}


QUARANTINE: Final = "quarantine.csv"
PHOTOS_PER_TASK: Final = 8  # handing over a task costs about as much as 1/20 of decoding a photo
CHANNELS: Final = {"rgb": 3, "grey": 1}
BOX: Final = ["top", "left", "right", "bottom"]
SPEC_KEYS: Final = ("size", "colour", "margin", "square", "apply_exif_rotation")


def crop_faces(
    faces: pd.DataFrame,
    photos: Photos,
    config: CropConfig,
    out: Path,
    progress: bool = True,
    *,
    classes: tuple[str, ...] = EXPRESSIONS,
    problems: pd.DataFrame | None = None,
) -> CropCounts:
    """Cut the faces of a faces table and write faces.npy, index.parquet, quarantine.csv and crop.json into `out`.

    Faces stand in the order in which the table first names their photos. Every row that gave no face stands
    in quarantine.csv with its reason, after the `problems` that the source had found.
    `classes` are the names of the labels 0, 1, ... Memory does not grow
    with the number of photos, except for the table and the index, about 1 kB a face.

    Raises:
        UserError: no row passes the filter, or none of those that did could be cut.
    """
    selected, left_out = select_faces(faces, config)
    selected = selected.reset_index(drop=True)
    cut = CropIndex(selected)
    shape = (config.size, config.size, CHANNELS[config.colour])
    with FaceWriter(out / PIXELS, shape) as writer:
        for photo in _photos_in_order(selected, photos, config, progress):
            for face in photo.faces:
                writer.append(face)
            cut.note(photo)
    index = cut.index()
    found = [] if problems is None else [problems]
    quarantine = pd.concat([*found, left_out, cut.quarantine()], ignore_index=True)
    if index.empty:
        raise UserError(
            f"none of {len(selected):,} faces could be cut: "
            + ", ".join(f"{n:,} {reason}" for reason, n in quarantine["reason"].value_counts().items())
            + "; check that conf/data names the right folder of photos."
        )
    index.to_parquet(out / INDEX, index=False)
    quarantine.to_csv(out / QUARANTINE, index=False)
    cut_as = {key: getattr(config, key) for key in SPEC_KEYS}
    spec = cut_as | {"classes": classes, "n": len(index), "digest": faces_digest(index)}
    (out / SPEC).write_text(json.dumps(spec, indent=2) + "\n")
    return count_crops(index, quarantine, classes, cut.clamped, cut.reduced)


def _photos_in_order(
    selected: pd.DataFrame, photos: Photos, config: CropConfig, progress: bool
) -> Iterator[PhotoFaces]:
    """What each photo gave, in the order in which the table first names the photos."""
    boxes = selected[BOX].to_numpy()
    codes, images = pd.factorize(selected["image"])
    order = np.argsort(codes, kind="stable")  # the rows of each photo side by side
    ends = np.cumsum(np.bincount(codes))
    starts = range(0, len(images), PHOTOS_PER_TASK)

    def work(start: int) -> list[PhotoFaces]:
        found = []
        for photo in range(start, min(start + PHOTOS_PER_TASK, len(images))):
            at = order[ends[photo - 1] if photo else 0 : ends[photo]]
            found.append(photo_faces(photos, images[photo], at.tolist(), boxes[at], config))
        return found

    # `disable=None`: quiet where stderr is no terminal
    with (
        tqdm(total=len(images), unit=" photos", desc="crop", disable=None if progress else True) as bar,
        left_over_bytes_unmentioned(),
    ):
        for done in map_in_order(work, starts, config.workers or cores()):
            yield from done
            bar.update(len(done))
