"""The faces on which an exported file is held against its model, and on which int8 finds its ranges."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from mien.crossdata.model import MeasuredModel
    from mien.faces.packed import PackedFaces
    from mien.predict.predictor import Predictor

MOST_CHECKED: Final = 2000
MOST_CALIBRATED: Final = 512
LEAST_CALIBRATED: Final = 16
DRAWN: Final = 64


@dataclass(frozen=True)
class ExportFaces:
    """Faces (N, size, size, C) uint8 as the model takes them.

    `checked` are compared; `labels` are theirs, and `photos` (N,) says which come from one photo, or both are None.
    `calibration` are others, never of a test set; None: none are there that an int8 file could be fitted to.
    `says` is for people, such as "342 of its own validation faces".
    """

    checked: np.ndarray
    says: str
    labels: np.ndarray | None = None
    photos: np.ndarray | None = None
    calibration: np.ndarray | None = None


class NoOwnFaces(UserError):
    """No face that the model was trained or chosen with is at hand."""


def own_faces(measured: "MeasuredModel", crop: Path) -> ExportFaces:
    """The model's own validation faces to compare, and its training faces to calibrate, out of what crop packed.

    They are known by the digests that travel with the model, so that it does not matter how the checkout is split now;
    no test face is among them.

    Raises:
        NoOwnFaces: crop has not run here, its faces are cut otherwise, or none of them is the model's.
    """
    from mien.faces.packed import open_faces
    from mien.registry.candidate import cut_alike

    name = measured.loaded.says
    if not crop.is_dir():
        raise NoOwnFaces(f"the faces that {name} learnt from are not here: {crop} is missing (`dvc repro crop`).")
    packed = open_faces(crop)
    if not cut_alike(vars(measured.loaded.spec), packed.spec):
        raise NoOwnFaces(f"{crop} holds faces that are cut otherwise than {name} needs them.")
    parts = _parts(packed.index, measured.seen)
    checked, calibration = _some(parts, "val", MOST_CHECKED), _some(parts, "train", MOST_CALIBRATED)
    if not len(checked) or len(calibration) < LEAST_CALIBRATED:
        raise NoOwnFaces(f"{crop} holds no faces that {name} was trained and chosen with.")
    return ExportFaces(
        checked=_pixels(packed, checked),
        says=f"{len(checked):,} of its own validation faces",
        labels=checked["label"].to_numpy(),
        photos=checked["photo_digest"].to_numpy(),
        calibration=_pixels(packed, calibration),
    )


def photo_faces(predictor: "Predictor", files: Iterable[Path]) -> ExportFaces:
    """The faces that are found in photos: every second one calibrates, the others are compared.

    Raises:
        UserError: there are none.
    """
    from mien.faces.decode import UnreadablePhoto
    from mien.predict.picture import Picture

    found = []
    for file in files:
        try:
            photo = Picture(file).pixels(predictor.model.spec.colour, predictor.settings)
            found.append(predictor.find_faces(photo).pixels)
        except UnreadablePhoto as error:
            raise UserError(f"{file} cannot be used: {error.detail}.") from error
    faces = np.concatenate(found) if found else np.empty(0)
    if not len(faces):
        raise UserError("no face is found in these photos; give some that show faces.")
    calibration = faces[1::2][:MOST_CALIBRATED] if len(faces) >= 2 * LEAST_CALIBRATED else None
    checked = faces if calibration is None else faces[::2][:MOST_CHECKED]
    return ExportFaces(checked, f"{len(checked):,} faces of these photos", calibration=calibration)


def drawn_faces(predictor: "Predictor") -> ExportFaces:
    """Faces as the embedded sample draws them, for a model whose own are not at hand."""
    from mien.sources.drawing.photo import draw_photo

    faces = []
    for number in range(DRAWN):
        photo, drawn = draw_photo(np.random.default_rng([5, number]), [number % 7])
        faces.append(predictor.cut(photo, [face.box for face in drawn]))
    return ExportFaces(np.concatenate(faces), f"{DRAWN} drawn faces")


def _parts(index: "pd.DataFrame", seen: "pd.DataFrame | None") -> "pd.DataFrame":
    """The rows of crop's index that the model was fitted or chosen with, and in which part they were."""
    if seen is None:
        return index.head(0).assign(part="")
    keys = ["photo_digest", "face_digest"]
    return index.merge(seen.drop_duplicates(keys), on=keys, how="inner")


def _some(parts: "pd.DataFrame", part: str, most: int) -> "pd.DataFrame":
    """At most so many faces of a part, the same ones on every run, in the order in which they are packed."""
    rows = parts[parts["part"] == part]
    return rows.sample(min(most, len(rows)), random_state=0).sort_values("row")


def _pixels(packed: "PackedFaces", rows: "pd.DataFrame") -> np.ndarray:
    return np.ascontiguousarray(packed.pixels[rows["row"].to_numpy()])
