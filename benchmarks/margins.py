"""How a model's accuracy changes with what is cut as the face: the margin, and whose box it is.

    python -m benchmarks.margins MODEL... [--data FOLDER] [--detectors haar NAME=FILE ...] [--photos N]

MODEL is `models:/NAME@ALIAS` or a folder, in the tracking store that MLFLOW_TRACKING_URI names. FOLDER is ExpW as it is
distributed; without it `$MIEN_REAL_DATA/expw`. Measured are the faces of photos that the model did not learn from, with
a confidence above 30: first cut from the labelled boxes with margins from -0.2 to 0.4, then from the boxes of each
detector that overlap a labelled one by at least 0.3 (intersection over union), beside the labelled box of those faces.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from tqdm import tqdm

from mien.crop.cropping import crop_faces
from mien.crop.packed import open_faces
from mien.crop.selection import CropConfig
from mien.inference.address import MeasuredModel, open_measured
from mien.inference.detectors import PredictConfig, build_detector
from mien.inference.tracks import overlap
from mien.runtime.cut import Box, BoxOutside, cut_face, face_box
from mien.runtime.decode import decode_photo
from mien.sources.detect import Detector
from mien.sources.expw import ExpW
from mien.sources.photos import Photos

MARGINS: Final = (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
SAME: Final = 0.3  # intersection over union
BOX: Final = ["top", "left", "right", "bottom"]
EVERY: Final = CropConfig(scaled_decoding=False)


@dataclass
class Cuts:
    """Faces cut in one way, and which of the measured faces they are."""

    faces: list[np.ndarray] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def add(self, photo: np.ndarray, box: Sequence[int], margin: float, model: MeasuredModel, row: int) -> None:
        """Cut one more, as the model's own faces were, but for the margin."""
        spec = model.loaded.spec
        placed = face_box(box, photo.shape[0], photo.shape[1], margin=spec.margin + margin, square=spec.square)
        self.faces.append(cut_face(photo, placed, spec.size))
        self.rows.append(row)

    def right(self, model: MeasuredModel, labels: np.ndarray) -> "pd.Series[bool]":
        """Whether each was answered rightly, by its row."""
        said = model.loaded.probabilities(np.stack(self.faces)).argmax(axis=1)
        return pd.Series(said == labels[self.rows], index=self.rows)


def unseen(folder: Path, unpacked: Path, model: MeasuredModel, most: int) -> tuple[pd.DataFrame, Photos]:
    """The faces of at most so many photos that the model did not learn from, and the photos."""
    source = ExpW()
    faces = source.ingest(folder).faces
    photos = source.photos(folder, unpacked)
    with tempfile.TemporaryDirectory() as cropped:
        crop_faces(faces, photos, EVERY, Path(cropped), progress=False)
        index = open_faces(Path(cropped)).index
    known = set() if model.seen is None else set(model.seen["photo_digest"])
    index = index[~index["photo_digest"].isin(known)]
    found = index[["face_id", "label"]].merge(faces[["face_id", "image", *BOX]], on="face_id")
    images = pd.Series(found["image"].unique())
    some = images.sample(min(most, len(images)), random_state=0)
    return found[found["image"].isin(set(some))].reset_index(drop=True), photos


def with_photos(faces: pd.DataFrame, photos: Photos, colour: str) -> Iterator[tuple[np.ndarray, pd.DataFrame]]:
    """Each photo's pixels and its rows."""
    for image, rows in tqdm(faces.groupby("image", sort=False), disable=None):
        data = photos.read(str(image))
        yield decode_photo(data, colour=colour, max_megapixels=100, apply_exif_rotation=False), rows


def labelled(faces: pd.DataFrame, photos: Photos, model: MeasuredModel) -> dict[float, Cuts]:
    """Cuts from the labelled boxes by their margin."""
    cuts = {margin: Cuts() for margin in MARGINS}
    for photo, rows in with_photos(faces, photos, model.loaded.spec.colour):
        for row, box in zip(rows.index, rows[BOX].to_numpy(), strict=True):
            for margin, cut in cuts.items():
                cut.add(photo, box.tolist(), margin, model, int(row))
    return cuts


def detected(
    faces: pd.DataFrame, photos: Photos, model: MeasuredModel, detector: Detector
) -> tuple[dict[float, Cuts], pd.DataFrame]:
    """The same from a detector's boxes, and how those lie to the labelled ones."""
    cuts: dict[float, Cuts] = {margin: Cuts() for margin in MARGINS}
    lie = []
    for photo, rows in with_photos(faces, photos, model.loaded.spec.colour):
        boxes = [found.box for found in detector.detect(photo)]
        for row, edges in zip(rows.index, rows[BOX].to_numpy(), strict=True):
            own = Box(*edges.tolist())
            best = max(boxes, key=lambda box: overlap(box, own), default=None)
            if best is None or overlap(best, own) < SAME:
                continue
            lie.append(_beside(best, own))
            for margin, cut in cuts.items():
                try:
                    cut.add(photo, best, margin, model, int(row))
                except BoxOutside:
                    continue
    return cuts, pd.DataFrame(lie)


def _beside(box: Box, own: Box) -> dict[str, float]:
    """How a detector's box lies to the labelled one, in shares of the latter's height."""
    height, width = own.bottom - own.top, own.right - own.left
    return {
        "width": (box.right - box.left) / width,
        "height": (box.bottom - box.top) / height,
        "right": (box.left + box.right - own.left - own.right) / 2 / width,
        "down": (box.top + box.bottom - own.top - own.bottom) / 2 / height,
        "overlap": overlap(box, own),
    }


def measure(model: MeasuredModel, folder: Path, files: dict[str, str], most: int) -> pd.DataFrame:
    """A row for each way of cutting."""
    with tempfile.TemporaryDirectory() as unpacked:
        faces, photos = unseen(folder, Path(unpacked), model, most)
        labels = faces["label"].to_numpy()
        own = {margin: cut.right(model, labels) for margin, cut in labelled(faces, photos, model).items()}
        table = [_row("labelled", margin, right, own[0.0]) for margin, right in own.items()]
        for name, file in files.items():
            settings = PredictConfig(detector=name, detector_file=file, min_face=24)
            cuts, lie = detected(faces, photos, model, build_detector(settings))
            print(f"{name}: boxes beside the labelled ones, medians: {lie.median().round(3).to_dict()}")
            table += [_row(name, margin, cut.right(model, labels), own[0.0]) for margin, cut in cuts.items()]
    return pd.DataFrame(table)


def _row(boxes: str, margin: float, right: "pd.Series[bool]", own: "pd.Series[bool]") -> dict[str, object]:
    same = own[right.index]
    return {
        "boxes": boxes,
        "margin": margin,
        "faces": len(right),
        "accuracy": round(float(right.mean()), 3),
        "labelled box, same faces": round(float(same.mean()), 3),
    }


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MIEN_REAL_DATA", "")) / "expw")
    parser.add_argument("--detectors", nargs="*", default=["haar"], metavar="NAME[=FILE]")
    parser.add_argument("--photos", type=int, default=400, help="at most so many photos, a random sample")
    said = parser.parse_args()
    if not said.data.is_dir():
        sys.exit(f"{said.data}: there is no such folder; name ExpW's with --data, or set MIEN_REAL_DATA.")
    files = {name: file for name, _, file in (one.partition("=") for one in said.detectors)}
    for name in said.models:
        model = open_measured(name)
        print(
            f"\n{model.name}, {model.loaded.spec.size} px {model.loaded.spec.colour}, margin {model.loaded.spec.margin}"
        )
        print(measure(model, said.data, files, said.photos).to_string(index=False))


if __name__ == "__main__":
    main()
