"""One checkout whose DAG has run, for all tests that look at it; each leaves it as it was."""

import subprocess
from pathlib import Path

import pytest

from tests.pipelines.workspace import Workspace, new_workspace
from tests.stores import once


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh repository after its first `dvc repro`, committed."""
    folder = tmp_path_factory.mktemp("dag") / "mien"
    subprocess.run(["cp", "-a", once("dag", run_first), folder], check=True)  # with its links to the cache
    return Workspace(folder)


def run_first(folder: Path) -> None:
    here = new_workspace(folder)
    here.run("dvc", "repro")
    here.commit("first run")
