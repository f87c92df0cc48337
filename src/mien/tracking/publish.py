"""Bring runs level with the files of the DAG: the files are the truth, the store is a view of them."""

import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mien.errors import UserError
from mien.tracking.files import publish_evaluation_files, publish_training_files
from mien.tracking.run import first_line
from mien.tracking.store import URI, connect, use_store
from mien.tracking.trials import publish_trials
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


def publish_search(root: Path, *, within: float = WITHIN) -> None:
    """The trials of `reports/tune.json` as child runs; never raises, one warning if it fails or is slow."""
    _bounded(root, "search", within)


def publish_training(root: Path, *, within: float = WITHIN) -> None:
    """Configuration, epochs and curves of `build/train`; never raises, one warning if it fails or is slow."""
    _bounded(root, "training", within)


def publish_evaluation(root: Path, *, within: float = WITHIN) -> None:
    """Numbers, figures and report of the evaluation; never raises, one warning if it fails or is slow."""
    _bounded(root, "evaluation", within)


def sync(root: Path) -> str:
    """Send all that the store lacks, and say what that was.

    Raises:
        UserError: nothing has been trained yet, or the store cannot be reached or written.
    """
    uri = use_store(root)
    here = [name for name, (file, _) in WORKS.items() if (root / file).exists()]
    if not here:
        raise UserError(f"there is nothing to send: {root} has no build/train/lineage.json; run `dvc repro` first.")
    try:
        client = connect(uri)
        sent = [f"{name}: {WORKS[name][1](client, root)}" for name in here]
        offer_view(client, json.loads((root / WORKS[here[0]][0]).read_text(encoding="utf-8"))["data"])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the tracking store {uri} failed ({first_line(error)}); "
            f"see that it runs and that {URI} is right, then `mien sync` again."
        ) from error
    return f"{uri} is level with the files. {'; '.join(sent)}."


def _bounded(root: Path, name: str, within: float) -> None:
    uri = use_store(root)
    file, work = WORKS[name]
    failure: list[str] = []

    def attempt() -> None:
        try:
            work(connect(uri), root)
        # Whatever goes wrong in the store is no reason to fail a stage whose files are written.
        except Exception as error:
            failure.append(first_line(error))

    if not (root / file).exists():
        _log.warning("tracking: there is no %s, so its %s is not sent.", file, name)
        return
    thread = threading.Thread(target=attempt, name=f"mien-publish-{name}-{os.getpid()}", daemon=True)
    thread.start()
    thread.join(within)
    if thread.is_alive():
        failure.append(f"no answer within {within:g} s")
    if failure:
        _log.warning("tracking: the store %s failed (%s); `mien sync` sends the %s.", uri, failure[0], name)
