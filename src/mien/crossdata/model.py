"""The model that is measured on another data set: its network, its lineage, and which faces it learnt from."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from mien.models.account import read_lineage
from mien.predict.loaded import LoadedModel, load_folder, model_files
from mien.predict.registered import registered_files
from mien.records import read_record

SEEN: Final = ["photo_digest", "face_digest", "part"]
TRAINED_ON: Final = "trained_on.parquet"  # beside a registered model


@dataclass(frozen=True)
class MeasuredModel:
    """A model, what its training says of itself, and the digests of the faces that it was fitted or chosen with.

    `seen` has `photo_digest`, `face_digest` and `part` (train or val), and is None where the model's folder does not
    tell. `run_id` is that of the run that a registered model comes from.
    """

    loaded: LoadedModel
    lineage: dict[str, Any]
    seen: pd.DataFrame | None
    run_id: str | None = None

    @property
    def name(self) -> str:
        """For people: `mien-expw version 3`, or the training's name where the model is not registered."""
        if self.loaded.version is None:
            return str(self.lineage["run"])
        return f"{self.loaded.name} version {self.loaded.version}"

    @property
    def slug(self) -> str:
        """For a folder's name: `mien-expw-3`, or data set and network of a model that is not registered."""
        if self.loaded.version is None:
            return f"{self.lineage['data']}-{self.lineage['model']}"
        return f"{self.loaded.name}-{self.loaded.version}"


def open_measured(said: str) -> MeasuredModel:
    """The model that a person means: `models:/NAME/VERSION`, `models:/NAME@ALIAS`, `NAME@ALIAS`, or a folder.

    Raises:
        NoSuchModel: the registry has none of that name, version or alias.
        UserError: no folder of that name, no model in it, or files that cannot be read.
    """
    if ":/" not in said and ("@" not in said or Path(said).exists()):
        return _read(Path(said), name="", version=None)
    uri = said if ":/" in said else f"models:/{said}"
    with registered_files(uri) as (folder, version):
        found = _read(folder, name=version.name, version=int(version.version))
        return dataclasses.replace(found, run_id=version.run_id or None)


def _read(folder: Path, name: str, version: int | None) -> MeasuredModel:
    loaded = load_folder(folder, name=name, version=version)
    files = model_files(folder)
    lineage = read_lineage(files)
    return MeasuredModel(loaded, lineage, _seen(files, lineage))


def _seen(files: Path, lineage: dict[str, Any]) -> pd.DataFrame | None:
    """From the list beside a registered model, or from the split beside build/train, if it is the training's own."""
    if (files / TRAINED_ON).is_file():
        return pd.read_parquet(files / TRAINED_ON, columns=SEEN)
    split = files.parent / "split"
    about = split / "split.json"
    if not about.is_file():
        return None
    if read_record(about, {"digest": str}, "`dvc repro split` writes it anew")["digest"] != lineage["split_digest"]:
        return None
    parts = [
        pd.read_parquet(split / f"{part}.parquet", columns=SEEN[:2]).assign(part=part) for part in ("train", "val")
    ]
    return pd.concat(parts, ignore_index=True)
