"""The faces of another data set, cut as the model that is measured needs them."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from mien.checkout import main_checkout
from mien.crossdata.classes import SharedClasses, names_of
from mien.errors import UserError
from mien.faces.crop import QUARANTINE, crop_faces
from mien.faces.packed import PackedFaces, open_faces
from mien.faces.settings import CropConfig
from mien.models.spec import ModelSpec
from mien.sources.catalogue import get_source
from mien.sources.settings import DataConfig

ALL: Final = "all"
PARTS: Final = ("test", "val", "train", ALL)


@dataclass(frozen=True)
class CutFaces:
    """Faces that were cut, and what was not.

    `packed` is memory-mapped; `part` one of PARTS; `quarantine` the faces of the part that could not be cut or were
    filtered, with reasons; `unknown` counts faces of classes that the model cannot name; `problems` counts the raw
    data set's rows that could not be read.
    """

    packed: PackedFaces
    part: str
    classes: SharedClasses
    quarantine: pd.DataFrame
    unknown: dict[str, int]
    problems: int


def cut_faces(
    data: DataConfig, spec: ModelSpec, part: str | None, filters: CropConfig, root: Path, scratch: Path
) -> CutFaces:
    """Read a data set and cut the faces of a part as `spec` says: size, colour, margin, square, EXIF rotation.

    Args:
        data: the data set; its path is taken from `root`.
        spec: of the model.
        part: "test", "val", "train" or "all"; None: "test" where the data set has an official one, else "all".
        filters: whose `min_confidence` and decoding are kept; its size, colour and sample of rows are not.
        root: the checkout.
        scratch: where the faces go; archives are unpacked into `.mien/unpacked` of the checkout.

    Raises:
        UserError: the data set is not there or of another shape, has no such part, or no face of it can be cut.
    """
    source, folder = get_source(data), root / data.path
    if not folder.is_dir():
        raise UserError(f"data set {data.name} is not here: {data.path} is missing; `mien data` says what goes there.")
    ingested = source.ingest(folder)
    chosen, rows = _part(ingested.faces, part, data.name)
    classes = SharedClasses(spec.classes, ingested.classes)
    unknown = classes.unknown(rows)
    if unknown.all():
        raise UserError(
            f"data set {data.name}, {chosen}: the model knows none of its classes; nothing can be measured."
        )
    config = dataclasses.replace(
        filters,
        size=spec.size,
        colour=spec.colour,
        margin=spec.margin,
        square=spec.square,
        apply_exif_rotation=spec.apply_exif_rotation,
        max_rows=0,
    )
    photos = source.photos(folder, main_checkout(root) / ".mien" / "unpacked")
    crop_faces(rows[~unknown], photos, config, scratch, classes=classes.names)
    quarantine = pd.read_csv(scratch / QUARANTINE, dtype=str, keep_default_na=False)
    left_out = names_of(rows["label"][unknown])
    return CutFaces(open_faces(scratch), chosen, classes, quarantine, left_out, len(ingested.problems))


def _part(faces: pd.DataFrame, part: str | None, name: str) -> tuple[str, pd.DataFrame]:
    official = [p for p in PARTS if (faces["source_split"] == p).any()]
    chosen = part or ("test" if "test" in official else ALL)
    if chosen == ALL:
        return ALL, faces
    if chosen not in official:
        has = f"official parts are {', '.join(official)}" if official else "data set has no official split"
        raise UserError(f"data set {name} has no part {chosen!r}: the {has}; --part all takes every usable face.")
    return chosen, faces[faces["source_split"] == chosen]
