"""MLflow runs: lookup by digest, updates without duplicates, and facts on code and machine."""

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from mien.base.state import digest
from mien.tracking.store import NOTE, find_experiment

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DIGEST: Final = "mien.digest"
PARENT: Final = "mlflow.parentRunId"
NOTES: Final = Path(__file__).with_name("notes.md.j2")  # the words of descriptions
DVC_EXPERIMENT: Final = "DVC_EXP_NAME"  # DVC sets it for the stages of `dvc exp run`
EPOCH: Final = "epoch/"  # before the names of history.csv: MLflow makes a group of charts of it, the first one
METRICS_A_BATCH: Final = 1000  # MLflow's limits
PARAMS_A_BATCH: Final = 100
LONGEST_PARAM: Final = 6000
PACKAGES: Final = ("torch", "pytorch-lightning", "numpy", "opencv-python-headless", "mlflow")
# DVC writes these while the pipeline runs: they say nothing about the code.
WRITTEN: Final = (":!reports", ":!dvc.lock", ":!data.dvc")

Row = tuple[int, Mapping[str, float]]  # step and values
# Sections of a description in their order: a reader wants the verdict first, and stages write in another order.
Section = Literal["Registered", "Test set", "Training", "Search"]


@dataclass(frozen=True)
class RunIdentity:
    """What a run is: another digest is another run; what it was made on is in the digest."""

    experiment: str  # the data set's name
    name: str  # for people: "resnet16 · 48 px grey · 3f2a"
    digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""  # the digest of the parent run


@dataclass(frozen=True)
class RunContent:
    """What files say of a run, for `send`."""

    identity: RunIdentity
    params: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    results: Mapping[str, float] = field(default_factory=dict)  # of the whole run; other ones take a step of their own
    tags: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)  # tags that are set only where the run lacks them
    dataset: tuple[str, str, Mapping[str, str]] | None = None  # name, digest, source
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # globs by artifact folder
    note: tuple[Section, str, Callable[[], Sequence[Any]]] | None = None  # of the description; its macro, its values
    status: str = "FINISHED"  # "" ends a run that is still running, and leaves the end of another as it is


Sent = Counter[str]  # how many parameters, metrics and files a run lacked


def send(client: "MlflowClient", root: Path, content: RunContent) -> Sent:
    """Bring a run up to date with what the files of the checkout `root` say, and end it; returns what was sent.

    The digest of the files is a tag that is set last: where it is there, all of it went before.
    """
    run = obtain_run(client, content.identity)
    run_id, present = run.info.run_id, run.data.tags
    tags = {**content.facts, **present, **content.identity.tags, **content.tags}
    set_tags(client, run_id, {key: value for key, value in tags.items() if present.get(key) != value})
    status = content.status or ("FINISHED" if run.info.status == "RUNNING" else run.info.status)
    files = [(folder, file) for folder, globs in content.files.items() for glob in globs for file in root.glob(glob)]
    parts = sorted((folder, file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for folder, file in files)
    complete = {f"mien.sent.{next(iter(content.files), '')}": digest(parts)} if files else {}
    sent_before = complete.items() <= present.items()
    if complete and sent_before and run.info.status == status:
        return Sent()
    params = send_params(client, run, content.params)
    history = MetricHistory(client, run_id)
    metrics = history.send([*content.rows, (history.step_of(content.results), content.results)])
    if content.dataset:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, faces, source = content.dataset
        dataset = Dataset(name, faces[:36], "local", json.dumps(source))
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
    unsent = [] if sent_before else files
    for folder, file in unsent:
        client.log_artifact(run_id, str(file), folder)
    if content.note:
        from mien.reporting.pages import note  # jinja2, for a run that was not described yet

        section, macro, values = content.note
        set_note(client, run_id, section, note(NOTES, macro, *values()))
    if run.info.status != status:
        client.set_terminated(run_id, status)
    set_tags(client, run_id, complete)
    return Sent(parameters=params, metrics=metrics, files=len(unsent))


def find_run(client: "MlflowClient", experiment: str, digest: str) -> "Run | None":
    """The oldest run with this digest, or None."""
    found = client.search_runs(
        [find_experiment(client, experiment).experiment_id],
        f"tags.`{DIGEST}` = '{digest}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return found[0] if found else None


def obtain_run(client: "MlflowClient", identity: RunIdentity) -> "Run":
    """The run of an identity, created where there is none; of two created at once the older one stays."""
    if run := find_run(client, identity.experiment, identity.digest):
        return run
    tags = {**identity.tags, DIGEST: identity.digest}
    name = identity.name
    if identity.parent:
        parent = obtain_run(client, RunIdentity(identity.experiment, identity.experiment, identity.parent))
        tags[PARENT] = parent.info.run_id
    elif experiment := os.environ.get(DVC_EXPERIMENT):  # the configuration alone would not tell two of them apart
        name = f"{experiment} · {name}"
    made = client.create_run(find_experiment(client, identity.experiment).experiment_id, tags=tags, run_name=name)
    first = find_run(client, identity.experiment, identity.digest) or made
    if first.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return first


def of_epoch(values: Mapping[str, float]) -> dict[str, float]:
    """An epoch's values under the names that they have in the store."""
    return {EPOCH + name: value for name, value in values.items()}


def set_tags(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags in one call."""
    from mlflow.entities import RunTag

    if tags:
        client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])


def send_params(client: "MlflowClient", run: "Run", values: Mapping[str, Any]) -> int:
    """Send the parameters that the run lacks (a parameter cannot change); returns how many were sent."""
    from mlflow.entities import Param

    missing = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in values.items() if k not in run.data.params]
    for start in range(0, len(missing), PARAMS_A_BATCH):
        client.log_batch(run.info.run_id, params=missing[start : start + PARAMS_A_BATCH])
    return len(missing)


def with_section(note: str, title: str, text: str) -> str:
    """The note with one section `### title` set; other sections and a person's words stay."""
    parts = re.split(r"(?m)^### (.+)\n", note)
    sections = dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
    sections[title] = text
    ordered = dict.fromkeys([*(name for name in get_args(Section) if name in sections), *sections])
    blocks = [f"### {name}\n{sections[name]}" for name in ordered]
    return "\n\n".join([*filter(None, [parts[0].strip()]), *blocks])


def set_note(client: "MlflowClient", run_id: str, section: Section, text: str) -> None:
    """Set a section of a run's description, unless it says the same already."""
    before = client.get_run(run_id).data.tags.get(NOTE, "")
    after = with_section(before, section, text)
    if after != before:
        client.set_tag(run_id, NOTE, after)


class MetricHistory:
    """A run's metrics as the store has them, so that only what is missing is sent."""

    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._known: dict[str, dict[int, float]] = {}

    def send(self, rows: Iterable[Row]) -> int:
        """Send the (step, values) that the store lacks or has with another value; returns how many."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        missing = [
            Metric(key, float(value), now, step)
            for step, values in rows
            for key, value in values.items()
            if not self._has(key, step, float(value))
        ]
        try:
            for start in range(0, len(missing), METRICS_A_BATCH):
                self._client.log_batch(self._run_id, metrics=missing[start : start + METRICS_A_BATCH])
        except Exception:  # perhaps only the answer was lost
            self._known = {}
            raise
        for metric in missing:
            self._known[metric.key][metric.step] = metric.value
        return len(missing)

    def step_of(self, values: Mapping[str, float]) -> int:
        """The last step of any of these, or the next one where the store has another value there."""
        last = max((step for key in values for step in self._of(key)), default=0)
        return last + any(last in self._of(key) and not self._has(key, last, value) for key, value in values.items())

    def _of(self, key: str) -> dict[int, float]:
        if key not in self._known:
            history = self._client.get_metric_history(self._run_id, key)
            self._known[key] = {metric.step: metric.value for metric in history}
        return self._known[key]

    def _has(self, key: str, step: int, value: float) -> bool:
        known = self._of(key).get(step)
        return known is not None and bool(np.isclose(known, value, rtol=1e-6, atol=1e-9, equal_nan=True))


def run_facts(root: Path) -> dict[str, str]:
    """Tags on the code, the machine and the versions of a run; some milliseconds for git."""
    cpu = Path("/proc/cpuinfo")  # names the processor on Linux
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    # One line, since a run's page shows each tag as a box of its own.
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    return {
        **git_facts(root),
        **lock_facts(root),
        "mien.cpu": names[0] if names else platform.processor() or platform.machine(),
        "mien.cores": str(os.cpu_count()),
        "mien.versions": ", ".join(versions),
        "mlflow.source.name": "pipelines/train.py",
        "mlflow.source.type": "LOCAL",
    }


def git_facts(root: Path) -> dict[str, str]:
    """The commit, and whether tracked files differ from it; empty outside a git checkout."""
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"mlflow.source.git.commit": commit, "mien.git_dirty": "true" if changed_files(root) else "false"}


def changed_files(root: Path) -> list[str]:
    """Tracked files that differ from the commit, without what a run of the pipeline writes."""
    return git(root, "diff", "--name-only", "--relative", "HEAD", "--", ".", *WRITTEN).splitlines()


def git(root: Path, *arguments: str) -> str:
    """What a git command prints in a folder; empty where it fails."""
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True, timeout=10).strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def lock_facts(root: Path) -> dict[str, str]:
    """The digest of dvc.lock, which names every input and output of the pipeline; empty where there is none."""
    lock = root / "dvc.lock"
    return {"mien.dvc_lock": hashlib.sha256(lock.read_bytes()).hexdigest()[:16]} if lock.exists() else {}
