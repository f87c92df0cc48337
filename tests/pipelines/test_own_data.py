"""A person's own data set beside the sample, and the code of a checkout's copy, as DVC makes one for an experiment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.workspace import ROOT, Workspace

STAGE = """\
stages:
  copy:
    cmd: cp data/sample/faces out
    params: [choice]
    deps: [data/sample]
    outs: [out]
"""


@pytest.fixture
def here(tmp_path: Path) -> Workspace:
    """A repository with mien's ignore files, the sample and one data set of its owner, each tracked on its own."""
    here = Workspace(tmp_path)
    here.run("git", "init", "-q", "-b", "main")
    here.run("dvc", "init", "-q")
    for name in (".gitignore", ".dvcignore"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in ("sample", "mine"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "faces").write_text(name)
    (tmp_path / "data.dvc").write_text("outs:\n- path: data/sample\n")
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("choice: 1\n")
    here.run("dvc", "repro", "-q")
    here.run("dvc", "add", "-q", "data/mine")
    here.commit("all tracked")
    return here


def test_an_experiment_leaves_every_data_set_in_its_place(here: Workspace) -> None:
    """DVC clears away what it once linked and no .dvc file names, and it read `/data/*/` as data/ being ignored."""
    here.run("dvc", "exp", "run", "-q", "-S", "choice=2")
    for name in ("sample", "mine"):
        assert (here.folder / "data" / name / "faces").read_text() == name
    shutil.rmtree(here.folder / "data/mine")
    here.run("dvc", "checkout", "-q")
    assert (here.folder / "data/mine/faces").read_text() == "mine"
    assert here.run("git", "ls-files", "data").stdout.split() == ["data/mine.dvc"]  # and no photo


def test_a_stage_in_a_copy_imports_the_code_of_the_copy(tmp_path: Path) -> None:
    """Also where an editable install, which a path in the environment stands for, points to another checkout."""
    for name in ("pipelines", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import mien; print(mien.__file__)'])"
    for program in ("import mien; print(mien.__file__)", child):
        command = [sys.executable, "-c", f"import pipelines.compose; {program}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()).is_relative_to(tmp_path)
