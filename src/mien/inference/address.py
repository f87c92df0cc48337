"""Which model is meant: `models:/NAME@ALIAS`, a folder, an ONNX file."""

import dataclasses
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from mien.base.errors import UserError
from mien.base.records import read_record
from mien.inference.classifier import LoadedModel, load_folder, model_files
from mien.models.spec import read_lineage
from mien.registry.version import TRAINING_FACES, read_training_faces, training_faces
from mien.tracking.store import URI, connect, database_file, first_line, store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from mien.evaluation.other_data import KnownModel

FORM: Final = re.compile(r"models:/(?P<name>[^/@]+)(@(?P<alias>[^/@]+)|/(?P<version>\d+))")
GONE: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # an unknown model; an unknown alias


class NoSuchModel(UserError):
    """The registry holds no such model, alias or version."""


def load_registered(uri: str) -> "LoadedModel":
    """The model of `models:/NAME@ALIAS` or `models:/NAME/VERSION` in the tracking store that is set.

    Raises:
        NoSuchModel: there is none.
        UserError: the URI has another form, the store cannot be reached, or the files cannot be read.
    """
    with registered_files(uri) as (folder, version):
        from mien.inference.classifier import load_folder

        return load_folder(folder, name=version.name, version=int(version.version))


def version_of(uri: str) -> int:
    """The number of the version that a URI names now; nothing is fetched.

    Raises:
        NoSuchModel, UserError: as `load_registered`.
    """
    return int(_look_up(uri)[1].version)


@contextmanager
def registered_files(uri: str) -> "Iterator[tuple[Path, ModelVersion]]":
    """The folder of a registered version's files, while the block lasts, and the version.

    Raises:
        NoSuchModel, UserError: as `load_registered`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        yield fetch_registered(uri, scratch)


def fetch_registered(uri: str, scratch: str) -> "tuple[Path, ModelVersion]":
    """The folder of a registered version's files, in `scratch` where they are not on this machine, and the version.

    Raises:
        NoSuchModel, UserError: as `load_registered`.
    """
    client, version = _look_up(uri)
    return _fetch(client, version, scratch), version


def refuse_unregistered(uri: str) -> re.Match[str]:
    """The parts of a URI by FORM, or what can be told of it without MLflow.

    Raises:
        NoSuchModel: the store is a file that does not exist.
        UserError: the URI has another form.
    """
    parts = FORM.fullmatch(uri)
    if parts is None:
        raise UserError(f"{uri!r} names no model; it would be models:/NAME@champion, models:/NAME/3, or a folder.")
    if (file := database_file(os.environ.get(URI, ""))) and not file.exists():
        raise NoSuchModel(f"there is no {uri} yet: nothing has been registered in {file}.")
    return parts


def _look_up(uri: str) -> "tuple[MlflowClient, ModelVersion]":
    from mlflow.exceptions import MlflowException

    parts = refuse_unregistered(uri)
    name, alias = parts["name"], parts["alias"]
    with store_errors("the registry at"):
        client = connect()
        try:
            found = client.get_model_version_by_alias(name, alias) if alias else None
            return client, found or client.get_model_version(name, str(parts["version"]))
        except MlflowException as error:
            if error.error_code in GONE:
                raise NoSuchModel(f"there is no {uri} yet ({first_line(error)}).") from error
            raise


def _fetch(client: "MlflowClient", version: "ModelVersion", to: str) -> Path:
    """The version's files: where they lie on this machine, or copied from the server into `to`."""
    from mlflow.artifacts import download_artifacts

    what = f"reading {version.name} version {version.version} from"
    with store_errors(what, client.tracking_uri, "see that it runs, or let `dvc repro` register the model again"):
        place = client.get_model_version_download_uri(version.name, version.version)
        return Path(download_artifacts(place, dst_path=to, tracking_uri=client.tracking_uri))


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

    @property
    def known(self) -> "KnownModel":
        """The model as evaluation on another data set takes it."""
        from mien.evaluation.other_data import KnownModel  # pandas and more, for that command alone

        loaded = self.loaded
        return KnownModel(
            logits=loaded.classifier.logits,
            spec=loaded.spec,
            temperature=loaded.temperature,
            seen=self.seen,
            lineage=self.lineage,
            name=self.name,
            identity=self.slug if loaded.version is None else loaded.name,
            version=loaded.version,
            title=loaded.title,
            drawn=loaded.drawn,
            run_id=self.run_id,
        )


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
    if (files / TRAINING_FACES).is_file():
        return read_training_faces(files)
    split = files.parent / "split"
    about = split / "split.json"
    if not about.is_file():
        return None
    if read_record(about, {"digest": str}, "`dvc repro split` writes it anew")["digest"] != lineage["split_digest"]:
        return None
    return training_faces(split)
