"""The DAG end to end: `dvc repro` on a small sample in a repository of its own, with the real configuration shrunk.

All tests of that repository are in one file, so that one process makes it, once.
"""

import fcntl
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from markupsafe import escape

from tests.pipelines.workspace import Workspace

STAGES = ["ingest", "crop", "split", "tune", "train", "evaluate", "report", "register"]
KEY, SECRET = "somebody", secrets.token_hex(20)


def training_of(workspace: Workspace) -> list[str]:
    """The command of the stage train."""
    choices = yaml.safe_load((workspace.folder / "params.yaml").read_text())
    groups = ("data", "model", "augment", "optim", "train", "trainer")
    return [sys.executable, "-m", "pipelines", "train", *(f"{group}={choices[group]}" for group in groups)]


def test_every_stage_leaves_its_outs(workspace: Workspace) -> None:
    lock = yaml.safe_load((workspace.folder / "dvc.lock").read_text())
    assert list(lock["stages"]) == STAGES
    for stage in lock["stages"].values():
        assert all((workspace.folder / out["path"]).exists() for out in stage.get("outs", []))
    left = (workspace.folder / "build/.partial").iterdir()
    assert {f.suffix for f in left} <= {".lock"}  # nothing half-written; a lock file stays when its holder is gone
    pictures = (f"figures/{name}.png" for name in ("train/curves", "tune/history", "crop/contact_happy"))
    for name in ("report.html", "faces.html", *pictures):
        assert (workspace.folder / "reports" / name).stat().st_size > 5000
    index, decision = (workspace.folder / "reports/index.html").read_text(), workspace.report("register")
    commit = workspace.run("git", "rev-parse", "HEAD~1").stdout.strip()  # the first `dvc repro` was of the one before
    known = (f"version {decision['version']}", decision["outcome"], commit, "UTC")
    assert all(word in index for word in (*known, *map(escape, decision["reasons"])))


def test_the_numbers_hang_together(workspace: Workspace) -> None:
    ingest, crop, split = (workspace.report(name) for name in ("ingest", "crop", "split"))
    assert crop["faces"] == split["faces"]
    assert crop["faces"] + sum(sum(c.values()) for c in crop["dropped"].values()) >= ingest["faces"]
    metrics = workspace.report("metrics")
    assert metrics["n"] == split["parts"]["test"]["faces"]
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert workspace.report("register")["model"] == "mien-sample"
    assert len(workspace.report("tune")["trials"]) == 3


def test_a_second_repro_changes_nothing(workspace: Workspace) -> None:
    def files() -> dict[Path, bytes]:
        reports = sorted((workspace.folder / "reports").glob("*.json"))
        return {f: f.read_bytes() for f in [workspace.folder / "dvc.lock", *reports]}

    before = files()
    assert workspace.stale() == set()
    workspace.run("dvc", "repro")
    assert files() == before


ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


@pytest.mark.slow
def test_a_terminal_shows_stages_trials_and_epochs_and_none_of_dvcs_own_lines(workspace: Workspace) -> None:
    repro = (sys.executable, "-m", "pipelines.repro", "-f", "-s", "tune", "train")
    seen = workspace.run(sys.executable, "-c", ON_A_TERMINAL, *repro, COLUMNS="160").stdout
    for stage in ("[4/8] tune", "[5/8] train"):
        assert f"{stage} ..." in seen and re.search(rf"{re.escape(stage)}: \d+\.\d s", seen), seen
    assert re.search(r"trial +1/\d+  .*lr [\d.]+ .*objective \d", seen)
    assert re.search(r"best \S+ \(trial \d\), \d pruned", seen)
    assert re.search(r"[\d,]+ images/s  loss \S+  val_loss \S+, best \S+ .* left", seen) and "epoch   1/" not in seen
    for noise in ("Collecting", "lock file", "Running stage", "git add"):
        assert noise not in seen


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
        ("src/mien/evaluation/measures.py", None, {"evaluate", "report"}),
        ("src/mien/search/space.py", None, {"tune"}),
        ("src/mien/reporting/style.py", None, {"report"}),
        ("src/mien/tracking/runs.py", None, set()),
        ("pipelines/split.py", None, {"split"}),
        ("src/mien/sources/folder.py", None, {"ingest", "crop", "split"}),
    ],
)
def test_an_edit_makes_stale_what_composes_the_file_or_imports_the_module(
    workspace: Workspace, file: str, values: dict[str, Any] | None, expected: set[str]
) -> None:
    with workspace.kept(file):
        if values:
            workspace.edit(file, **values)
        else:
            with (workspace.folder / file).open("a") as source:
                source.write("\n# changed\n")
        assert workspace.stale() == expected


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
    with workspace.kept("params.yaml"):
        workspace.edit("params.yaml", model="resnet99")
        done = workspace.run("dvc", "repro", check=False)
    with workspace.dvc() as repo:
        repo.checkout()  # `dvc repro` has taken away the search's outs
    assert done.returncode != 0
    assert "resnet99" in done.stderr + done.stdout


def test_a_training_that_is_refused_leaves_the_run_of_the_one_at_work_alone(workspace: Workspace) -> None:
    """As after a kill of dvc alone: its stage goes on, and the next `dvc repro` starts a second one."""

    def statuses() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(workspace.folder / "mlruns/mlflow.db")) as store:
            return store.execute("select run_uuid, status from runs order by run_uuid").fetchall()

    before = statuses()
    with ExitStack() as held:
        for lock in (workspace.folder / ".mien/train").glob("*.lock"):
            fcntl.flock(held.enter_context(lock.open("a+")), fcntl.LOCK_EX)
        done = workspace.run(*training_of(workspace), check=False)
    assert done.returncode == 1
    assert "is still working on this" in done.stderr
    assert statuses() == before


def cached(workspace: Workspace) -> dict[int, Path]:
    """The cache's objects by their inode."""
    return {f.stat().st_ino: f for f in (workspace.folder / ".dvc/cache/files").rglob("*") if f.is_file()}


def test_a_thread_that_waited_for_a_slow_store_does_not_abort_a_finished_stage(workspace: Workspace) -> None:
    late = (
        "import runpy, sys, threading, torch\n"
        "def work():\n"
        "    while True:\n"
        "        torch.ones(100, 100) @ torch.ones(100, 100)\n"
        "threading.Thread(target=work, name='mien-tracking', daemon=True).start()\n"
        "sys.argv = ['pipelines', *sys.argv[1:]]\n"
        "runpy.run_module('pipelines', run_name='__main__')\n"
    )
    assert "[3/8] split: " in workspace.run("python", "-c", late, "split", "split=grouped").stderr
    wrong = workspace.run("python", "-c", late, "split", "split=groped", check=False)
    assert wrong.returncode == 1 and "did you mean grouped?" in wrong.stderr


def test_data_and_outs_are_links_to_the_cache_that_cannot_be_written(workspace: Workspace) -> None:
    objects = cached(workspace)
    for name in (
        "data/sample/origin.7z.001",
        "build/crop/faces.npy",
        "build/train/model.safetensors",
        "reports/faces.html",
        "reports/report.html",
    ):
        status = (workspace.folder / name).stat()
        assert status.st_ino in objects, name
        assert status.st_mode & 0o222 == 0, name


def test_an_unprotected_label_file_can_be_edited_and_the_cache_keeps_the_old_one(workspace: Workspace) -> None:
    labels = workspace.folder / "data/sample/label.lst"
    kept = cached(workspace)[labels.stat().st_ino]
    before = kept.read_bytes()
    try:
        with workspace.dvc() as repo:
            repo.unprotect("data/sample/label.lst")
        assert os.access(labels, os.W_OK) and labels.stat().st_mode & 0o200
        with labels.open("a") as file:
            file.write("another.jpg 0 1 1 9 9 50.0 3\n")
        assert kept.read_bytes() == before
        assert "ingest" in workspace.stale()
    finally:
        with workspace.dvc() as repo:
            repo.checkout("data.dvc", force=True)
    assert labels.read_bytes() == before
    assert labels.stat().st_ino in cached(workspace)


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket `mien`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket="mien")
    yield url
    server.stop()


def cloned(workspace: Workspace, folder: Path) -> Workspace:
    """A clone without data, cache or store."""
    subprocess.run(["git", "clone", "-q", str(workspace.folder), str(folder)], check=True)
    return Workspace(folder)


def check_same(origin: Workspace, clone: Workspace) -> None:
    """Nothing runs in the clone but `register`, and the numbers are the same."""
    assert clone.stale() == set()
    said = clone.run("dvc", "repro").stdout
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    assert ran == ["register"]
    assert (clone.folder / "mlruns/mlflow.db").exists()  # its own store, with the version registered anew
    assert clone.report("register")["version"] == 1
    for name in ("metrics", "register", "train"):
        assert clone.report(name) == origin.report(name)
    assert clone.run("git", "status", "--porcelain").stdout == " M .dvc/config\n"


def test_a_clone_pulls_from_a_folder_and_runs_nothing(workspace: Workspace, tmp_path: Path) -> None:
    clone = cloned(workspace, tmp_path / "clone")
    with workspace.kept(".dvc/config"):
        workspace.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
        shutil.copy(workspace.folder / ".dvc/config", clone.folder / ".dvc/config")
        with workspace.dvc() as repo:
            repo.push(run_cache=True)
        with clone.dvc() as repo:
            repo.pull(run_cache=True)
        check_same(workspace, clone)


@pytest.mark.slow
def test_a_clone_pulls_from_s3_with_keys_that_never_reach_git(workspace: Workspace, s3: str, tmp_path: Path) -> None:
    """Keys from the environment in one checkout, from DVC's local configuration in the other."""
    clone = cloned(workspace, tmp_path / "clone")
    with workspace.kept(".dvc/config"):
        for here in (workspace, clone):
            here.run("dvc", "remote", "add", "--default", "shared", "s3://mien/dvc")
            here.run("dvc", "remote", "modify", "shared", "endpointurl", s3)
        workspace.run("dvc", "push", "--run-cache", AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
        clone.run("dvc", "remote", "modify", "--local", "shared", "access_key_id", KEY)
        clone.run("dvc", "remote", "modify", "--local", "shared", "secret_access_key", SECRET)
        clone.run("dvc", "pull", "--run-cache")
        check_same(workspace, clone)
    assert SECRET in (clone.folder / ".dvc/config.local").read_text()
    tracked = clone.run("git", "ls-files").stdout.split()
    assert not [name for name in tracked if SECRET.encode() in (clone.folder / name).read_bytes()]


def first_epoch(here: Workspace, until_checkpoint: bool = False) -> str:
    """The first line that a training prints of an epoch; with `until_checkpoint` it is killed after its second."""
    environment = {**os.environ, "PYTHONPATH": f"{here.folder / 'src'}:{here.folder}", "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    quiet = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen(training_of(here), cwd=here.folder, env=environment, text=True, **quiet) as training:
        assert training.stderr is not None
        lines = (line.strip() for line in training.stderr if line.startswith("epoch"))
        first = next(lines)
        if until_checkpoint:
            next(lines)
            while not list((here.folder / ".mien/train").rglob("last.ckpt")):
                time.sleep(0.01)
        training.send_signal(signal.SIGKILL)
    return first


def test_an_edit_of_the_code_starts_a_killed_training_anew(workspace: Workspace) -> None:
    """It goes on where it was, unless its code was edited: then its checkpoint is another training's."""
    edited = "src/mien/training/task.py"
    with workspace.kept(edited):
        assert first_epoch(workspace, until_checkpoint=True).startswith("epoch   1/")
        assert not first_epoch(workspace).startswith("epoch   1/")
        with (workspace.folder / edited).open("a") as source:
            source.write("\n# another schedule\n")
        assert first_epoch(workspace).startswith("epoch   1/")
