"""A fresh clone of the same commit makes the same results, and a full cache makes up for an empty tracking store."""

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
import yaml

from mien.models.description import hardware_words
from tests.pipelines.workspace import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A clone without cache, store and state, with the data, after `dvc repro`."""
    folder = tmp_path_factory.mktemp("clone") / "mien"
    workspace.run("git", "clone", "-q", str(workspace.folder), str(folder))
    here = Workspace(folder)
    shutil.copytree(workspace.folder / "data/sample", folder / "data/sample")
    here.run("dvc", "repro")
    return here


def test_a_fresh_clone_makes_the_same_bytes(clone: Workspace) -> None:
    """dvc.lock has the digests of all outs, weights and split among them; reports/*.json the metrics."""
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert len(list((clone.folder / "mlruns").glob("mlflow.db"))) == 1


def test_a_full_cache_and_an_empty_store_end_with_a_registered_champion(clone: Workspace) -> None:
    for left in ("mlruns/mlflow.db", "mlruns/artifacts", "build/train"):
        path = clone.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = clone.run("dvc", "repro").stdout
    assert "pipelines register" in said
    assert "pipelines train" not in said
    with closing(sqlite3.connect(clone.folder / "mlruns/mlflow.db")) as store:
        assert store.execute("select alias, version from registered_model_aliases").fetchall() == [("champion", 1)]
        training_and_trials = 1 + len(clone.report("tune")["trials"])
        assert store.execute("select status from runs").fetchall() == [("FINISHED",)] * training_and_trials
    assert clone.report("register")["outcome"] == "promoted"


def test_a_training_on_something_else_than_its_search_is_a_run_of_its_own_and_says_so(clone: Workspace) -> None:
    """As where the search came out of the cache of a machine with a GPU."""
    best = yaml.safe_load((clone.folder / "build/tune/best.yaml").read_text())
    clone.run("dvc", "unprotect", "build/tune")
    clone.edit("build/tune/best.yaml", made_on={"device": "gpu", "precision": "bf16"})
    choices = yaml.safe_load((clone.folder / "params.yaml").read_text())
    arguments = [f"{group}={choices[group]}" for group in ("data", "model", "augment", "optim", "train")]
    clone.run("dvc", "unprotect", "build/train")
    clone.run("python", "-m", "pipelines", "train", *arguments)
    lineage = json.loads((clone.folder / "build/train/lineage.json").read_text())
    assert best["made_on"] == {"device": lineage["device"], "precision": lineage["precision"]}
    assert lineage["digest"] != best["digest"]
    assert hardware_words(lineage).endswith("after a search in bfloat16 on a GPU")
    said = " ".join(clone.run("mien", "status").stdout.split())
    assert "trained in" in said and "after a search in bfloat16 on a GPU" in said
