"""One checkout whose DAG has run, for all tests that look at it; each leaves it as it was."""

import pytest

from tests.pipelines.workspace import Workspace, new_workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A fresh repository after its first `dvc repro`, committed."""
    here = new_workspace(tmp_path_factory.mktemp("dag") / "mien")
    here.run("dvc", "repro")
    here.commit("first run")
    return here
