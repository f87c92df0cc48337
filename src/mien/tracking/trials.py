"""The trials of a search as child runs of one parent."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.records import read_record
from mien.tracking.files import send_files
from mien.tracking.notes import SEARCH, search_note, set_note
from mien.tracking.runs import (
    DIGEST,
    PARENT,
    MetricHistory,
    RunIdentity,
    obtain_run,
    of_epoch,
    send_params,
    shown_name,
    trial_digest,
)

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SEARCH_FILES: Final = {"search": ("reports/tune.json", "build/tune/best.yaml", "reports/tune/*.png")}
STATUS: Final = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}  # Optuna's to MLflow's


def publish_trials(client: "MlflowClient", root: Path) -> str:
    """The trials of `reports/tune.json` that the store lacks; returns what was sent."""
    report = read_record(root / "reports/tune.json", {}, "`dvc repro tune` writes it anew")
    if not report.get("trials"):
        return "no trials"
    data, digest = report["data"], report["digest"]
    parent = obtain_run(client, RunIdentity(data, shown_name(data, report["run"], digest), digest))
    there = _children(client, parent)
    sent = [_send_trial(client, report, trial) for trial in report["trials"] if _wanted(report, trial, there)]
    files = send_files(client, parent, root, SEARCH_FILES)
    set_note(client, parent.info.run_id, SEARCH, search_note(report))
    if parent.info.status == "RUNNING":
        client.set_terminated(parent.info.run_id, "FINISHED")
    return f"{len(sent)} trials, {files} files"


def _children(client: "MlflowClient", parent: "Run") -> dict[str, str]:
    """The digests of the trials in the store and their status."""
    found = client.search_runs(
        [parent.info.experiment_id], f"tags.`{PARENT}` = '{parent.info.run_id}'", max_results=5000
    )
    return {run.data.tags.get(DIGEST, ""): run.info.status for run in found}


def _wanted(report: Mapping[str, Any], trial: Mapping[str, Any], there: Mapping[str, str]) -> bool:
    """Whether the store lacks the trial, or has it half: a trial is ended last."""
    status = there.get(trial_digest(report["digest"], trial["number"]))
    return trial["state"] in STATUS and status != STATUS[trial["state"]]


def _send_trial(client: "MlflowClient", report: Mapping[str, Any], trial: Mapping[str, Any]) -> int:
    number = int(trial["number"])
    identity = RunIdentity(
        report["data"],
        f"trial {number}",
        trial_digest(report["digest"], number),
        {"mien.kind": "trial", "mien.trial_state": trial["state"]},
        parent=report["digest"],
    )
    run_id = obtain_run(client, identity).info.run_id
    send_params(client, run_id, trial["params"])
    history = MetricHistory(client, run_id)
    name = str(report.get("objective", "objective"))
    history.send((epoch, of_epoch({name: value})) for epoch, value in enumerate(trial["history"]))
    if trial["value"] is not None:
        history.send([(0, {f"trial/best_{name}": trial["value"]})])
    client.set_terminated(run_id, STATUS[trial["state"]])
    return number
