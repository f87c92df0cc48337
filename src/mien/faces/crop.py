"""From photos to packed faces: each photo is read and decoded once, on every core, in bounded memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from mien.errors import UserError
from mien.expressions import EXPRESSIONS
from mien.faces.crop_counts import CropCounts, count_crops
from mien.faces.crop_index import CropIndex
from mien.faces.in_order import cores, map_in_order
from mien.faces.jpeg import left_over_bytes_unmentioned
from mien.faces.packed import INDEX, PIXELS, SPEC, FaceWriter, faces_digest
from mien.faces.photo_faces import PhotoFaces, photo_faces
from mien.faces.selection import select_faces
from mien.faces.settings import CropConfig
from mien.sources.photos import Photos

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
