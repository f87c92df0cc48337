"""Where tracking goes: the store's address, its first creation, and a client that gives up soon."""

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mien.checkout import main_checkout
from mien.errors import UserError
from mien.tracking.database import why_not_opened
from mien.tracking.notes import NOTE
from mien.tracking.views import view_tag

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

URI: Final = "MLFLOW_TRACKING_URI"
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
# They print tracebacks and retries of failures that mien tells in one sentence.
LOUD: Final = ("mlflow", "mlflow.store.db.utils", "alembic", "urllib3.connectionpool")

EXPERIMENT_NOTE: Final = (
    "Facial expressions, data set **{name}**: one run per configuration, data and code; the trials of its search are "
    "its children. The champion is the registered model `mien-{name}`. Choose **Views** for the runs with their scores."
)

_ours: set[str] = set()


def use_store(root: Path) -> str:
    """Let this process and its children track into the store of a checkout; returns the store's URI.

    The default is `mlruns/mlflow.db` of the main checkout; `MLFLOW_TRACKING_URI`, set by a person, wins.
    Nothing is created and nothing heavy imported: that is for `connect`.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    given = os.environ.get(URI, "")
    if given and given not in _ours:
        return given
    uri = f"sqlite:///{main_checkout(root) / 'mlruns' / 'mlflow.db'}"
    _ours.add(uri)
    os.environ[URI] = uri
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(uri)
    return uri


def connect(uri: str | None = None) -> "MlflowClient":
    """A client of the store, which is created first where it is a file that does not exist.

    Raises:
        UserError: no store is set, or it is a database that MLflow cannot open as it is.
    """
    address = uri or os.environ.get(URI)
    if not address:
        raise UserError(f"no tracking store is set: call use_store, or set {URI}.")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if file := database_file(address):
        _create(file)
    try:
        return MlflowClient(address)
    except Exception as error:
        if sentence := why_not_opened(address, error):
            raise UserError(sentence) from error
        raise


def database_file(uri: str) -> Path | None:
    """The file of an sqlite store, or None for a server or another database."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///"))).absolute()


def find_experiment(client: "MlflowClient", name: str) -> "Experiment":
    """The experiment of a name: found, brought back if a person deleted it, or created.

    Beside an sqlite file its artifacts lie in `artifacts/`; a server has its own place for them.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        tags = {NOTE: EXPERIMENT_NOTE.format(name=name), **view_tag()}
        file = database_file(client.tracking_uri)
        place = (file.parent / "artifacts" / name).as_uri() if file else None
        try:
            return client.get_experiment(client.create_experiment(name, artifact_location=place, tags=tags))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another process was first
            if experiment is None:
                raise error
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment


@contextmanager
def store_lock(uri: str, name: str) -> Iterator[None]:
    """Hold a lock beside an sqlite store, so that processes take turns; a server keeps its own order."""
    file = database_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with (file.parent / f".{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create(file: Path) -> None:
    """Make the database under another name and rename it: a kill leaves none, and two makers take turns."""
    if file.exists():
        return
    with store_lock(f"sqlite:///{file}", "create"):
        if file.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        partial = file.with_name(file.name + ".partial")
        partial.unlink(missing_ok=True)
        make: Callable[[str, str], Any] = SqlAlchemyStore
        make(f"sqlite:///{partial}", (file.parent / "artifacts").as_uri()).engine.dispose()
        partial.replace(file)
