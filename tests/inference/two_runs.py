"""A store with two evaluated runs of one test set, a trial, and a run that was never evaluated."""

from pathlib import Path

import pytest

from mien.tracking.publish import publish_evaluation, publish_training
from mien.tracking.runs import RunIdentity, find_run, obtain_run
from mien.tracking.store import connect
from tests.registry.workspace import copied

WEAK, STRONG = "8-0", "40-1"  # digests


@pytest.fixture
def store(checkout: Path, weak: Path, strong: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that holds the strong model's files, with both runs in its store; the current folder."""
    client = connect()
    for workspace in (weak, strong):
        copied(workspace, checkout)
        publish_training(client, checkout)
        publish_evaluation(client, checkout)
    obtain_run(client, RunIdentity("tiny", "trial 0", "8-0-trial-0", {"mien.kind": "trial"}, parent=WEAK))
    obtain_run(client, RunIdentity("tiny", "half done", "half", {"mien.kind": "training"}))
    (checkout / "params.yaml").write_text("data: tiny\n")
    monkeypatch.chdir(checkout)
    return checkout


def id_of(digest: str) -> str:
    """The id of the run with this digest."""
    run = find_run(connect(), "tiny", digest)
    assert run is not None
    return str(run.info.run_id)
