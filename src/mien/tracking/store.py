"""Tracking store: its address, opening it, and its errors as sentences."""

import json
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlparse

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.state import locked, main_checkout
from mien.models.description import VERSION_FOLDER

# MLflow takes a second to import, so the functions that need it import it.
if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

URI: Final = "MLFLOW_TRACKING_URI"
ARTIFACTS: Final = "artifacts"  # the folder of files, beside an sqlite store
# Where MLflow keeps absolute addresses of artifacts.
ADDRESSES: Final = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
NOTE: Final = "mlflow.note.content"  # the tag that MLflow shows as a description
# MLflow's own defaults let a dead server hold a training for minutes, and phone home.
ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
}
# They print tracebacks and retries of failures that mien reports in one sentence.
LOUD: Final = ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3.connectionpool")
EXPERIMENT_NOTE: Final = (
    "Facial expressions, data set **{name}**: one run per configuration, data, code and kind of machine; the "
    "trials of its search are its children. The champion is the registered model `mien-{name}`."
)
# A saved view of the UI's table of runs, as MLflow 3.15 and newer keep it: trainings alone, their scores, the most
# accurate on validation faces first. A name on an experiment's page, and the key of its link.
VIEW: Final = "mlflow.sharedViewState.best"
VIEW_STATE: Final = Path(__file__).with_name("view.json").read_text(encoding="utf-8")
SAVED_VIEW: Final = json.dumps({"name": "Best first", "createdAt": 0, "state": VIEW_STATE})

NO_SPACE: Final = "no space left on device"
NO_STORE: Final = (
    f"{URI} names no store: set https://HOST, sqlite:///FOLDER/mlflow.db or postgresql+psycopg2://HOST/NAME, or unset "
    "it for mlruns/mlflow.db"
)
DAMAGED: Final = "it is not an MLflow database, or is damaged: move it away, and `mien sync` fills a new one"
MAKE_ROOM: Final = "make room there, then run the same command again"
SEE_THAT_IT_RUNS: Final = f"see that it runs and that {URI} is right, then run the same command again"
# What stands in MLflow's messages, which quote whole chains of exceptions, and what it means.
MEANINGS: Final = {
    "Connection refused": "Connection refused",
    "timed out": "timed out",
    "No space left on device": NO_SPACE,
    "disk is full": NO_SPACE,
    "too many 500 error responses": "too many 500 error responses",
    "error code 401": "it wants another MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "error code 403": "it does not allow this user, or this name of the server",
    **dict.fromkeys(("unsupported URI", "filesystem tracking backend", "named 'psycopg'"), NO_STORE),
    **dict.fromkeys(("file is not a database", "image is malformed", "malformed database"), DAMAGED),
    "out-of-date database schema": (
        "another MLflow made it: make a copy, then `mlflow db upgrade ADDRESS` upgrades an older store; one that a "
        "newer MLflow has upgraded needs that one installed"
    ),
}
# MLflow's client says so where a request got no answer, and where 5xx is all that it got.
NO_ANSWER: Final = ("failed with exception", "failed with timeout exception")
UNKNOWN: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a deleted model or run; an unknown alias
DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")  # that MLflow knows

_default_uris: set[str] = set()  # addresses that `use_store` chose, and no person


def use_store(root: Path) -> str:
    """Let this process and its children track into the store of a checkout; returns the store's URI.

    The default is `mlruns/mlflow.db` of the main checkout; `MLFLOW_TRACKING_URI`, set by a person, wins.
    Nothing is created and nothing heavy imported: that is for `connect`.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    given = os.environ.get(URI, "")
    if given and given not in _default_uris:
        return given
    uri = sqlite_uri(main_checkout(root) / "mlruns" / "mlflow.db")
    _default_uris.add(uri)
    os.environ[URI] = uri
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(uri)
    return uri


def connect(uri: str | None = None) -> "MlflowClient":
    """A client of the store, whose file is created where it is missing; `store_errors` is for what it raises."""
    address = uri or os.environ.get(URI)
    if not address:
        raise UserError(f"no tracking store is set: call use_store, or set {URI}.")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    if address.startswith(DATABASES):
        from mlflow.store.db import utils

        utils.MAX_RETRY_COUNT = 2  # nine retries of a database server that is away take two minutes
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    file = database_file(address)
    if file and not file.exists():
        # Under another name first: a kill leaves none that is half made, and two processes make it in turn.
        with locked(file.parent / ".create.lock", "create", wait=True):
            if not file.exists():
                with replacing(file) as partial:
                    MlflowClient(sqlite_uri(partial))  # makes and migrates it
    client = MlflowClient(address)
    if file:
        _take_along(file)
    return client


def _take_along(file: Path) -> None:
    """Let a database that was moved or copied with its artifacts name them where they are now.

    MLflow knows absolute addresses alone. A database that was copied without artifacts goes on using the old ones.
    """
    with closing(sqlite3.connect(file)) as connection, connection as database:
        for name, old in database.execute("SELECT name, artifact_location FROM experiments").fetchall():
            here = file.parent / ARTIFACTS / name
            if old == here.as_uri() or not str(old).endswith(f"/{ARTIFACTS}/{quote(name)}"):
                continue
            before = local_folder(old)
            if before and (here.is_dir() or not before.is_dir()):
                for table, column in ADDRESSES:
                    moved = f"rtrim(replace({column} || '/', :old, :new), '/')"
                    places = {"old": f"{old}/", "new": f"{here.as_uri()}/"}
                    database.execute(f"UPDATE {table} SET {column} = {moved}", places)


def sqlite_uri(file: Path) -> str:
    """The address of an sqlite store.

    SQLAlchemy takes `%41` for A and `?` for the path's end. Where they are quoted, slashes are too: MLflow makes the
    folder that it reads in an address as it stands, beside the right one.
    """
    return "sqlite:///" + (quote(str(file), safe="") if {"%", "?"} & set(str(file)) else str(file))


def database_file(uri: str) -> Path | None:
    """The file of an sqlite store, its folder resolved, or None for a server or another database."""
    if not uri.startswith("sqlite:///"):
        return None
    file = Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0]))
    return file.parent.resolve() / file.name


def local_folder(address: str) -> Path | None:
    """The folder that an address of artifacts names on this machine; None where it names another machine's."""
    place = urlparse(address)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def find_experiment(client: "MlflowClient", name: str) -> "Experiment":
    """The experiment of a name: found, brought back if a person deleted it, or created.

    Beside an sqlite file its artifacts lie in `artifacts/`, made here to show that they belong to it; a server has its
    own place for them.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        place = None
        if file := database_file(client.tracking_uri):
            (folder := file.parent / ARTIFACTS / name).mkdir(parents=True, exist_ok=True)
            place = folder.as_uri()
        tags = {NOTE: EXPERIMENT_NOTE.format(name=name), VIEW: SAVED_VIEW}
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=place, tags=tags))
        except MlflowException:
            if (experiment := client.get_experiment_by_name(name)) is None:  # else another process was first
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment


def run_links(client: "MlflowClient", address: str) -> dict[str, str]:
    """A link per data set to its trainings in the MLflow UI at `address`, in mien's view of them."""
    experiments = [experiment for experiment in client.search_experiments() if VIEW in experiment.tags]
    query = f"runs?viewStateShareKey={VIEW.rpartition('.')[2]}"
    return {found.name: f"{address}/#/experiments/{found.experiment_id}/{query}" for found in experiments}


class Unreachable(UserError):
    """The store is a server and gave no answer; the same may work later."""


@contextmanager
def store_errors(what: str, uri: str | None = None, remedy: str = SEE_THAT_IT_RUNS) -> Iterator[None]:
    """Turn a failure of the store into a UserError of one sentence, Unreachable where a server gives no answer.

    The sentence begins with what failed, such as "the registry of mien-sample at", and the store's address
    (`MLFLOW_TRACKING_URI` unless `uri` is given), and ends with the remedy.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError  # a file that is no database, or a disk without room for one

    address = uri or os.environ.get(URI, "")
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ModuleNotFoundError) as error:
        kind = Unreachable if is_unreachable(address, error) else UserError
        reason = first_line(error)
        todo = MAKE_ROOM if reason == NO_SPACE else remedy
        raise kind(f"{what} {shown(address)} failed ({reason}); {todo}.") from error


def fetch_version(client: "MlflowClient", name: str, version: int, to: Path) -> Path:
    """The folder of a version's files, where it lies or copied from the server into `to`; errors of `store_errors`."""
    from mlflow.artifacts import download_artifacts

    what = f"reading {name} version {version} from"
    with store_errors(what, client.tracking_uri, "see that it runs, or let `dvc repro` register the model again"):
        place = client.get_model_version_download_uri(name, str(version))
        folder = download_artifacts(place, dst_path=str(to), tracking_uri=client.tracking_uri)
    return Path(folder) / VERSION_FOLDER


def is_unreachable(uri: str, error: BaseException) -> bool:
    """Whether a server gave no answer, not even a refusal, so that another try may succeed; never of an sqlite file."""
    if uri.startswith(("http://", "https://")):
        text = str(error)
        return any(words in text for words in NO_ANSWER) or isinstance(error, ConnectionError | TimeoutError)
    return not uri.startswith("sqlite:") and "OperationalError" in f"{type(error).__name__} {error}"


def first_line(error: BaseException) -> str:
    """What an exception says, in a few words."""
    text = str(error).strip() or type(error).__name__
    known = [meaning for words, meaning in MEANINGS.items() if words in text]
    return known[0] if known else text.splitlines()[0][:300]


def shown(uri: str) -> str:
    """A store's address for people and logs: without user and password, a file's path as it is."""
    return unquote(uri) if uri.startswith("sqlite:///%2F") else re.sub(r"//[^/@]*@", "//", uri)
