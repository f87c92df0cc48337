"""`mien folds` in a real checkout with edits: killed, gone on with, and nothing but experiments left in it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.pipelines.workspace import Workspace

pytestmark = pytest.mark.slow
FOLDS = ("mien", "folds", "--folds", "3", "--json")
REFS = ("git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/*-fold-?")


def state_of(here: Workspace) -> dict[str, object]:
    """All that a user would miss: what git sees, staged or not, the outs, and the registered versions."""
    files = [file for folder in ("build", "reports", "data") for file in (here.folder / folder).rglob("*")]
    return {
        "status": here.run("git", "status", "--porcelain").stdout,
        "edits": here.run("git", "diff", "HEAD").stdout,
        "stash": here.run("git", "stash", "list").stdout,
        "outs": {file: (file.stat().st_mtime_ns, file.stat().st_mode) for file in files if file.is_file()},
        "registered": here.run("mien", "history", check=False).stdout,
    }


def test_a_killed_run_goes_on_and_the_checkout_stays_as_it_is(workspace: Workspace) -> None:
    choices, own = "params.yaml", workspace.folder / "conf/optim/mine.yaml"
    with workspace.kept(choices):
        own.write_text((workspace.folder / "conf/optim/adamw.yaml").read_text().replace("0.003", "0.004"))
        workspace.edit(choices, optim="mine", tune="none")
        workspace.run("git", "add", choices)
        before = state_of(workspace)
        environment = {**os.environ, "PYTHONPATH": f"{workspace.folder / 'src'}:{workspace.folder}"}
        command = [str(Path(sys.executable).with_name("mien")), *FOLDS[1:]]
        first = subprocess.Popen(command, cwd=workspace.folder, env=environment, stderr=subprocess.DEVNULL)
        while not workspace.run(*REFS).stdout:
            assert first.poll() is None
            time.sleep(0.5)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert state_of(workspace) == before
        while (done := workspace.run(*FOLDS, check=False)).returncode:  # its stage may be running still
            assert "process" in done.stderr and "wait for it or kill it" in done.stderr
            time.sleep(1)
        assert done.stderr.count("[5/8] train ...") <= 2
        assert state_of(workspace) == before
        again = workspace.run(*FOLDS)
        assert "train ..." not in again.stderr and again.stdout == done.stdout
        own.unlink()
        workspace.run("git", "reset", "-q")
    assert not list((workspace.folder / ".dvc/tmp/exps").glob("mien-folds-*/"))
    names = workspace.run(*REFS).stdout.split()
    assert names == [f"sample-resnet16-fold-{fold}" for fold in range(3)]
    tested = json.loads(done.stdout)
    index = pd.read_parquet(workspace.folder / "build/crop/index.parquet")
    assert sum(fold["faces"] for fold in tested["folds"]) == tested["pooled"]["faces"] == len(index)
    assert tested["pooled"]["never_tested"] == 0
    right = sum(fold["faces"] * fold["accuracy"] for fold in tested["folds"])
    pooled = tested["pooled"]["accuracy"]
    assert pooled["value"] == pytest.approx(right / len(index), abs=1e-5)
    assert pooled["low"] < pooled["value"] < pooled["high"] < 1
    head = workspace.run("git", "rev-parse", "HEAD").stdout.strip()
    for fold, name in enumerate(names):
        ref = f"refs/exps/{head[:2]}/{head[2:]}/{name}"
        assert f"folds: 3\nfold: {fold}\n" in workspace.run("git", "show", f"{ref}:conf/split/grouped.yaml").stdout
        assert "lr: 0.004" in workspace.run("git", "show", f"{ref}:conf/optim/mine.yaml").stdout
    workspace.run("dvc", "exp", "remove", *names)
