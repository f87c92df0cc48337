"""A database that MLflow cannot open as a store: of another version of MLflow, damaged, or something else's."""

import re
import sqlite3
from pathlib import Path
from typing import Final

from mien.tracking.failure import shown

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
