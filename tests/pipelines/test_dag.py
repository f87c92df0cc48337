"""The DAG end to end: `dvc repro` on a small sample in a repository of its own, with the real configuration shrunk."""

import fcntl
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipelines.workspace import Workspace

STAGES = ["ingest", "crop", "split", "tune", "train", "evaluate", "report", "register"]


def test_every_stage_leaves_its_outs(workspace: Workspace) -> None:
    lock = yaml.safe_load((workspace.folder / "dvc.lock").read_text())
    assert list(lock["stages"]) == STAGES
    for stage in lock["stages"].values():
        assert all((workspace.folder / out["path"]).exists() for out in stage.get("outs", []))
    left = (workspace.folder / "build/.partial").iterdir()
    assert {f.suffix for f in left} <= {".lock"}  # nothing half-written; a lock file stays when its holder is gone


def test_the_numbers_hang_together(workspace: Workspace) -> None:
    ingest, crop, split = (workspace.report(name) for name in ("ingest", "crop", "split"))
    assert crop["faces"] == split["faces"]
    assert crop["faces"] + sum(sum(c.values()) for c in crop["dropped"].values()) >= ingest["faces"]
    metrics = workspace.report("metrics")
    assert metrics["n"] == split["parts"]["test"]["faces"]
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert workspace.report("register")["model"] == "mien-sample"
    assert len(workspace.report("tune")["trials"]) == 3


def test_the_report_and_pictures_are_there(workspace: Workspace) -> None:
    for name in (
        "report.html",
        "figures/train/curves.png",
        "figures/tune/history.png",
        "figures/crop/contact_happy.png",
    ):
        assert (workspace.folder / "reports" / name).stat().st_size > 5000


def test_a_second_repro_changes_nothing(workspace: Workspace) -> None:
    def files() -> dict[Path, bytes]:
        reports = sorted((workspace.folder / "reports").glob("*.json"))
        return {f: f.read_bytes() for f in [workspace.folder / "dvc.lock", *reports]}

    before = files()
    assert workspace.stale() == set()
    workspace.run("dvc", "repro")
    assert files() == before


@pytest.mark.parametrize(
    ("file", "values", "expected"),
    [
        ("conf/optim/adamw.yaml", {"lr": 0.001}, {"tune", "train"}),
        ("conf/optim/adam.yaml", {"lr": 0.5}, set()),
        ("conf/crop/grey48.yaml", {"margin": 0.1}, {"crop"}),
        ("conf/crop/rgb64.yaml", {"margin": 0.1}, set()),
        ("conf/evaluate/standard.yaml", {"bins": 10}, {"evaluate"}),
        ("conf/tune/quick.yaml", {"trials": 4}, {"tune"}),
        ("conf/data/sample.yaml", {"title": "another"}, {"report", "register"}),
    ],
)
def test_an_edit_of_a_config_file_makes_stale_what_composes_it(
    workspace: Workspace, file: str, values: dict[str, Any], expected: set[str]
) -> None:
    original = (workspace.folder / file).read_text()
    workspace.edit(file, **values)
    try:
        assert workspace.stale() == expected
    finally:
        (workspace.folder / file).write_text(original)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("src/mien/evaluation/measures.py", {"evaluate", "report"}),
        ("src/mien/search/space.py", {"tune"}),
        ("src/mien/reporting/style.py", {"report"}),
        ("src/mien/tracking/facts.py", set()),
        ("pipelines/split.py", {"split"}),
        ("src/mien/sources/folder.py", {"ingest", "crop"}),
    ],
)
def test_an_edit_of_a_module_makes_stale_what_imports_it(workspace: Workspace, file: str, expected: set[str]) -> None:
    path = workspace.folder / file
    original = path.read_text()
    path.write_text(original + "\n# changed\n")
    try:
        assert workspace.stale() == expected
    finally:
        path.write_text(original)


@pytest.mark.parametrize("file", ["label.lst", "origin.7z.001"])
def test_an_edit_of_a_label_row_or_a_photo_makes_stale_all_that_follows(workspace: Workspace, file: str) -> None:
    with workspace.kept(f"data/sample/{file}"):
        with (workspace.folder / "data/sample" / file).open("ab") as data:
            data.write(b"one.jpg 0 1 1 40 40 80 3\n")
        assert workspace.stale() == {"data.dvc", "ingest", "crop"}  # the others look at what these two write
    stages = yaml.safe_load((workspace.folder / "dvc.yaml").read_text())["stages"]
    reached = {"ingest"}
    for _ in STAGES:
        written = {out for name in reached for out in stages[name].get("outs", [])}
        reached |= {
            n for n, s in stages.items() if any(d == o or d.startswith(f"{o}/") for d in s["deps"] for o in written)
        }
    assert reached == set(STAGES)


def test_a_changed_choice_is_refused_before_any_work_where_it_does_not_exist(workspace: Workspace) -> None:
    original = (workspace.folder / "params.yaml").read_text()
    workspace.edit("params.yaml", model="resnet99")
    try:
        done = workspace.run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert "resnet99" in done.stderr + done.stdout
    finally:
        (workspace.folder / "params.yaml").write_text(original)


def test_a_training_that_is_refused_leaves_the_run_of_the_one_at_work_alone(workspace: Workspace) -> None:
    """As after a kill of dvc alone: its stage goes on, and the next `dvc repro` starts a second one."""

    def statuses() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(workspace.folder / "mlruns/mlflow.db")) as store:
            return store.execute("select run_uuid, status from runs order by run_uuid").fetchall()

    workspace.run("dvc", "repro")
    before = statuses()
    choices = yaml.safe_load((workspace.folder / "params.yaml").read_text())
    arguments = [f"{group}={choices[group]}" for group in ("data", "model", "augment", "optim", "train")]
    with ExitStack() as held:
        for lock in (workspace.folder / ".mien/train").glob("*.lock"):
            fcntl.flock(held.enter_context(lock.open("a+")), fcntl.LOCK_EX)
        done = workspace.run("python", "-m", "pipelines", "train", *arguments, check=False)
    assert done.returncode == 1
    assert "is still at work on this" in done.stderr
    assert statuses() == before
