"""Lookup of the tracked run that belongs to a set of choices, for docs/evidence/results.md."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.files import read_record
from mien.base.settings import read_settings
from mien.models.description import read_lineage

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

EVALUATED: Final = "mien.sent.evaluation"  # a tag that the store gets with the evaluation's files
LIVE: Final = "mien.cpu"  # a tag that only the training itself sets
EPOCHS: Final = ("epoch/val_loss", "val_loss")  # as it is called now, and as it was
RECIPE: Final = ("model", "augment", "optim", "train", "trainer")
# What is read of a run's files, with the keys that are used.
FILES: Final[dict[str, tuple[str, dict[str, type]]]] = {
    "metrics": (
        "evaluation/metrics.json",
        {"n": int, "accuracy": dict, "macro_f1": dict, "unweighted_average_recall": dict, "calibration_error": dict},
    ),
    "train": ("training/train.json", {"best_epoch": int, "epochs": int}),
    "ingest": ("data/ingest.json", {"faces": int}),
    "split": ("data/split.json", {"official_split": bool, "parts": dict, "clean_training": object}),
}
ANEW: Final = "`mien sync` where the run was made sends its files anew"


@dataclass(frozen=True)
class TrackedRun:
    """A finished and evaluated training: where it came from and what it came to.

    `files` holds metrics, train, ingest and split as the stages wrote them; `seconds` is from the run's beginning to
    its last epoch, None where the training itself had no store.
    """

    run_id: str
    name: str
    tags: Mapping[str, str]
    seconds: float | None
    lineage: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]


def newest_run(client: "MlflowClient", choices: Mapping[str, str], conf: Path) -> TrackedRun | None:
    """The newest finished run with an evaluation that was made with these choices, or None.

    Args:
        client: of the store, which is only read.
        choices: a whole set, as a preset holds it.
        conf: the folder of the choices.
    """
    data = read_settings(conf, "data", choices["data"])
    experiment = client.get_experiment_by_name(data.name)
    if experiment is None:
        return None
    made_with = [f"params.`choice.{group}` = '{choices[group]}'" for group in ("data", *RECIPE)]
    wanted = " and ".join(["attributes.status = 'FINISHED'", *made_with])
    found = client.search_runs([experiment.experiment_id], wanted, order_by=["attributes.start_time DESC"])
    for run in found:
        if EVALUATED in run.data.tags and _same_faces(tracked := _read(client, run), choices, conf):
            return tracked
    return None


def _read(client: "MlflowClient", run: "Run") -> TrackedRun:
    with tempfile.TemporaryDirectory() as folder:
        for place in ("training", "data", "evaluation"):
            client.download_artifacts(run.info.run_id, place, folder)
        files = {name: read_record(Path(folder, path), keys, ANEW) for name, (path, keys) in FILES.items()}
        lineage = read_lineage(Path(folder, "training"))
    name = str(run.info.run_name)
    return TrackedRun(run.info.run_id, name, run.data.tags, _seconds(client, run), lineage, files)


def _same_faces(run: TrackedRun, choices: Mapping[str, str], conf: Path) -> bool:
    """Whether crop and split are of the choices too, as far as a run's files tell."""
    crop, split = (read_settings(conf, group, choices[group]) for group in ("crop", "split"))
    cut = f"{crop.size} px {'RGB' if crop.colour == 'rgb' else 'grey'}"
    cleaned = run.files["split"]["clean_training"] is not None
    return str(run.lineage["run"]).endswith(cut) and cleaned == split.clean_training


def _seconds(client: "MlflowClient", run: "Run") -> float | None:
    """Not up to the run's end: a later stage or `dvc repro -f` may move that."""
    if LIVE not in run.data.tags:
        return None
    times = [m.timestamp for key in EPOCHS for m in client.get_metric_history(run.info.run_id, key)]
    return (max(times) - run.info.start_time) / 1000 if times else None


def other_settings(run: TrackedRun, choices: Mapping[str, str], conf: Path) -> dict[str, tuple[Any, Any]]:
    """Dotted keys in which a run's recipe is not its choices' own: (the run's value, the file's)."""
    other = {}
    for group in RECIPE:
        ours = vars(read_settings(conf, group, choices[group]))
        theirs = run.lineage["config"][group]
        other.update({f"{group}.{k}": (theirs[k], v) for k, v in ours.items() if k in theirs and theirs[k] != v})
    return other
