"""A registered model's files: found by alias or version, and loaded without MLflow's serving around them."""

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import UserError
from mien.tracking.failure import first_line, shown
from mien.tracking.store import URI, connect, database_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from mien.predict.loaded import LoadedModel

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
        from mien.predict.loaded import load_folder  # brings torch: a model that is missing is told without it

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
    parts = refuse_unregistered(uri)
    client = _connected(os.environ.get(URI, ""))
    return client, _find(client, uri, parts["name"], parts["alias"], parts["version"])


def _connected(store: str) -> "MlflowClient":
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return connect()
    except (SQLAlchemyError, OSError) as error:  # such as a file that is no database
        raise UserError(
            f"the registry at {shown(store)} failed ({first_line(error)}); see that {URI} is right."
        ) from error


def _find(client: "MlflowClient", uri: str, name: str, alias: str | None, number: str | None) -> "ModelVersion":
    from mlflow.exceptions import MlflowException

    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        return client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code in GONE:
            raise NoSuchModel(f"there is no {uri} yet ({first_line(error)}).") from error
        raise _unreachable(client, error) from error
    except OSError as error:
        raise _unreachable(client, error) from error


def _fetch(client: "MlflowClient", version: "ModelVersion", to: str) -> Path:
    """The version's files: where they lie on this machine, or copied from the server into `to`."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        place = client.get_model_version_download_uri(version.name, version.version)
        return Path(download_artifacts(place, dst_path=to, tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise UserError(
            f"the files of {version.name} version {version.version} cannot be read ({first_line(error)}); "
            "`dvc repro` registers the model anew."
        ) from error


def _unreachable(client: "MlflowClient", error: Exception) -> UserError:
    return UserError(
        f"the registry at {shown(client.tracking_uri)} failed ({first_line(error)}); see that {URI} is right."
    )
