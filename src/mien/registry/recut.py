"""Test faces for a champion that learnt from faces cut in another way: cut anew from the raw photos."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.faces.crop import crop_faces
from mien.faces.packed import PackedFaces, open_faces
from mien.faces.settings import CropConfig
from mien.registry.candidate import cut_alike
from mien.registry.champion import NoComparison
from mien.sources.photos import Photos


def recut(
    spec: Mapping[str, Any], test: pd.DataFrame, table: pd.DataFrame, open_photos: Callable[[], Photos]
) -> PackedFaces:
    """The faces of a test index as `spec` cuts them, in the index's order.

    Args:
        spec: size, colour, margin, square and apply_exif_rotation.
        test: the test index.
        table: the faces table that ingest wrote, with the boxes as the data set gives them.
        open_photos: opens the raw photos.

    Raises:
        NoComparison: the raw photos are not here, or a face cannot be cut from them.
    """
    rows = table[table["face_id"].astype(str).isin(set(test["face_id"].astype(str)))]
    config = CropConfig(
        size=spec["size"],
        colour=spec["colour"],
        margin=spec["margin"],
        square=spec["square"],
        apply_exif_rotation=spec["apply_exif_rotation"],
        min_confidence=float("-inf"),  # they were chosen by the candidate's crop already
        scaled_decoding=False,
    )
    with tempfile.TemporaryDirectory() as scratch:
        try:
            crop_faces(rows, open_photos(), config, Path(scratch), progress=False)
        except (UserError, OSError) as error:
            raise NoComparison(f"The champion needs faces cut from the raw photos, and {error}") from error
        packed = open_faces(Path(scratch))
        pixels = np.array(packed.pixels)
    at = {str(face): i for i, face in enumerate(packed.index["face_id"])}
    missing = [face for face in test["face_id"].astype(str) if face not in at]
    if missing:
        raise NoComparison(
            f"The champion needs faces cut from the raw photos, and {len(missing)} of {len(test)} cannot be cut, "
            f"{missing[0]} for one."
        )
    order = [at[face] for face in test["face_id"].astype(str)]
    return PackedFaces(pixels[order], packed.index.iloc[order].reset_index(drop=True), packed.spec)


@dataclass(frozen=True)
class FaceCutter:
    """Test faces as any model needs them: packed ones where they are cut alike, else cut anew."""

    packed: Path  # the folder that crop wrote
    table: Path  # faces.parquet of ingest
    open_photos: Callable[[], Photos]

    def __call__(self, spec: Mapping[str, Any], test: pd.DataFrame) -> PackedFaces:
        """The faces of a test index, in its order.

        Raises:
            NoComparison: the raw photos are needed and not here.
        """
        packed = open_faces(self.packed)
        if cut_alike(spec, packed.spec):
            rows = test["row"].to_numpy()
            return PackedFaces(packed.pixels[rows], packed.index.iloc[rows].reset_index(drop=True), packed.spec)
        return recut(spec, test, pd.read_parquet(self.table), self.open_photos)
