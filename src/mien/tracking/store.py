"""The tracking store: where it is, opening it, and errors of it in a sentence."""

import fcntl
import logging
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mien.base.errors import UserError
from mien.base.state import main_checkout
from mien.tracking.notes import NOTE
from mien.tracking.views import view_tag

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

# What stands in MLflow's messages, which quote whole chains of exceptions, and what it means.
KNOWN: Final = {
    "Connection refused": "Connection refused",
    "timed out": "timed out",
    "too many 500 error responses": "too many 500 error responses",
    "error code 401": "it wants another MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    "error code 403": "it does not allow this user, or this name of the server",
}
# MLflow's client says so where a request got no answer, and where 5xx is all that it got.
NO_ANSWER: Final = ("failed with exception", "failed with timeout exception")


def first_line(error: BaseException) -> str:
    """What an exception says, in a few words."""
    text = str(error).strip() or type(error).__name__
    known = [meaning for words, meaning in KNOWN.items() if words in text]
    return known[0] if known else text.splitlines()[0][:200]


def shown(uri: str) -> str:
    """A store's address as people and logs may see it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def is_unreachable(uri: str, error: BaseException) -> bool:
    """Whether a server gave no answer, so that the same request may do later; never of an sqlite file.

    An answer that refuses (a wrong password, a missing right, a wrong address) is no failure to reach it.
    """
    if uri.startswith(("http://", "https://")):
        text = str(error)
        return any(words in text for words in NO_ANSWER) or isinstance(error, ConnectionError | TimeoutError)
    return not uri.startswith("sqlite:") and "OperationalError" in f"{type(error).__name__} {error}"


OTHER_SCHEMA: Final = re.compile(r"out-of-date database schema \(found version (\w+), but expected (\w+)\)")


def why_not_opened(uri: str, error: Exception) -> str | None:
    """The sentence for what MLflow raised when it opened a database, or None where that was something else.

    An sqlite store that lacks some of MLflow's tables never comes here: MLflow migrates it when it opens it.
    """
    if found := OTHER_SCHEMA.search(str(error)):
        return _of_another_schema(uri, found[1])
    # What derives from it tells of passing trouble, such as a locked or a full one.
    if type(getattr(error, "orig", None)) is sqlite3.DatabaseError:
        return _useless(uri, str(getattr(error, "orig", "")))
    return None


def _of_another_schema(uri: str, revision: str) -> str:
    import mlflow

    if revision == "None":
        return _useless(uri, "it has tables and no schema version")
    migrations = Path(mlflow.__file__).parent / "store/db_migrations/versions"
    if any(migrations.glob(f"{revision}_*.py")):
        return (
            f"the tracking store {shown(uri)} is of an older MLflow than {mlflow.__version__}; make a copy, then "
            f"`mlflow db upgrade {_argument(uri)}` brings it up to date."
        )
    return (
        f"the tracking store {shown(uri)} has schema version {revision}, which MLflow {mlflow.__version__} does not "
        "know: a newer MLflow has upgraded it; install that one, or bring back the copy from before."
    )


def _useless(uri: str, reason: str) -> str:
    return (
        f"the tracking store {shown(uri)} is no database of MLflow's, or a damaged one ({reason}); bring back a copy, "
        "or move it away: `dvc repro` and `mien sync` fill a new one from the files."
    )


def _argument(uri: str) -> str:
    return uri if shown(uri) == uri else '"$MLFLOW_TRACKING_URI"'


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
