"""Bring runs level with the files of the DAG: the files are the truth, the store is a view of them."""

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import UserError
from mien.tracking.failure import first_line, shown
from mien.tracking.files import publish_evaluation_files, publish_training_files
from mien.tracking.store import URI, connect, use_store
from mien.tracking.trials import publish_trials
from mien.tracking.turns import publishing
from mien.tracking.views import offer_view

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

WITHIN: Final = 30.0  # seconds that a stage waits for a store
_log = logging.getLogger("mien.tracking")

Work = Callable[["MlflowClient", Path], str]
WORKS: Final[dict[str, tuple[str, Work]]] = {
    "search": ("reports/tune.json", publish_trials),
    "training": ("build/train/lineage.json", publish_training_files),
    "evaluation": ("reports/metrics.json", publish_evaluation_files),
}


def publish(root: Path, *names: str, within: float = WITHIN) -> None:
    """Send what the store lacks of the named works, by default of all; never raises, one warning where it cannot.

    A later stage sends all, so that what an earlier one could not send needs no person once the store is back.
    """
    uri = use_store(root)
    here = _here(root, names or tuple(WORKS))
    failure: list[str] = []

    def attempt() -> None:
        try:
            _send(connect(uri), root, here)
        # Whatever goes wrong in the store is no reason to fail a stage whose files are written.
        except Exception as error:
            failure.append(first_line(error))

    thread = threading.Thread(target=attempt, name=f"mien-publish-{os.getpid()}", daemon=True)
    thread.start()
    thread.join(within)
    if thread.is_alive():
        failure.append(f"no answer within {within:g} s")
    if failure:
        _log.warning("tracking: the store %s failed (%s); `mien sync` sends what is missing.", shown(uri), failure[0])


def sync(root: Path) -> str:
    """Send all that the store lacks, and say what that was.

    Raises:
        UserError: nothing has been trained yet, or the store cannot be reached or written.
    """
    uri = use_store(root)
    here = _here(root, tuple(WORKS))
    if not here:
        raise UserError(f"there is nothing to send: {root} has no build/train/lineage.json; run `dvc repro` first.")
    try:
        client = connect(uri)
        sent = _send(client, root, here)
        offer_view(client, json.loads((root / WORKS[here[0]][0]).read_text(encoding="utf-8"))["data"])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the tracking store {shown(uri)} failed ({first_line(error)}); "
            f"see that it runs and that {URI} is right, then `mien sync` again."
        ) from error
    return f"{shown(uri)} is level with the files. {'; '.join(sent)}."


def _here(root: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (root / WORKS[name][0]).exists()]


def _send(client: "MlflowClient", root: Path, names: list[str]) -> list[str]:
    with publishing(root):
        return [f"{name}: {WORKS[name][1](client, root)}" for name in names]
