"""Queued experiments and fresh clones: what takes effect, what stays, how they are compared, that bytes repeat."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import yaml

from mien.models.description import hardware_words
from tests.pipelines.workspace import ROOT, Workspace

pytestmark = pytest.mark.slow
OPTIM = "conf/optim/adamw.yaml"
QUEUED = {
    "own-word": ["-S", "tune=none", "-S", f"{OPTIM}:lr=0.004"],
    # A rate at which a network learns nothing on any processor, and trials enough for one that does.
    "in-colour": ["-S", "crop=rgb64", "-S", f"{OPTIM}:lr=20", "-S", "conf/tune/quick.yaml:trials=9"],
    "fast-rate": ["-S", "tune=none", "-S", f"{OPTIM}:lr=0.006"],
}


@pytest.fixture(scope="module")
def after(workspace: Workspace) -> Iterator[Workspace]:
    """The workspace after all of them, at the same time."""
    for name, changes in QUEUED.items():
        workspace.run("dvc", "exp", "run", "--queue", "-n", name, *changes)
    workspace.run("dvc", "exp", "run", "--run-all", "-j", "3")
    yield workspace
    workspace.run("dvc", "queue", "stop", "--kill")
    workspace.run("dvc", "exp", "remove", *QUEUED)


@pytest.fixture
def applied(after: Workspace, request: pytest.FixtureRequest) -> Iterator[Workspace]:
    """The workspace with the results of one of them, and afterwards with its own again."""
    after.run("dvc", "exp", "apply", request.param)
    yield after
    after.run("git", "checkout", "-q", ".")
    after.run("dvc", "checkout", "-q")


def asked(workspace: Workspace, query: str) -> list[tuple[Any, ...]]:
    """Rows of the main checkout's tracking store."""
    with closing(sqlite3.connect(workspace.folder / "mlruns/mlflow.db")) as store:
        return store.execute(query).fetchall()


def test_the_checkout_stays_as_it_was_and_the_copies_are_gone(after: Workspace) -> None:
    assert after.run("git", "status", "--porcelain").stdout == ""
    assert after.stale() == set()
    assert not list((after.folder / ".dvc/tmp/exps").glob("*/src"))


def test_their_runs_lie_side_by_side_in_the_main_store_with_names_that_tell_them_apart(after: Workspace) -> None:
    runs = asked(
        after,
        "select name, status, experiment_id, artifact_uri from runs join tags using (run_uuid) "
        "where key = 'mien.kind' and value = 'training'",
    )
    # Without the digits of the digest, which tell apart two trainings of one experiment's name.
    assert {re.sub(r" · [0-9a-f]{4}$", "", name) for name, *_ in runs} == {
        "resnet16 · 48 px grey",
        "own-word · resnet16 · 48 px grey",
        "in-colour · resnet16 · 64 px RGB",
        "fast-rate · resnet16 · 48 px grey",
    }
    assert {status for _, status, *_ in runs} == {"FINISHED"}
    assert len({experiment for _, _, experiment, _ in runs}) == 1
    for *_, place in runs:
        assert place.startswith(after.folder.as_uri())
        assert (after.folder / place.removeprefix(f"{after.folder.as_uri()}/") / "evaluation/index.html").is_file()


def test_each_run_has_the_numbers_of_its_own_experiment(after: Workspace) -> None:
    refs = after.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    for name, changes in QUEUED.items():
        (ref,) = (ref for ref in refs if ref.endswith(f"/{name}"))
        metrics = json.loads(after.run("git", "show", f"{ref}:reports/metrics.json").stdout)
        of_run = f"using (run_uuid) where name like '{name} · %' and key ="
        for key in ("accuracy", "ece"):
            stored = asked(after, f"select value from runs join latest_metrics {of_run} 'test/{key}'")
            assert stored == [(metrics[key]["value"],)]
        if "tune=none" in changes:
            assert asked(after, f"select value from runs join params {of_run} 'optim.lr'") == [
                (changes[-1].rpartition("=")[2],)
            ]


def test_they_register_candidates_and_promote_nothing(after: Workspace) -> None:
    assert len(asked(after, "select version from model_versions")) == 4
    assert asked(after, "select alias, version from registered_model_aliases") == [("champion", 1)]


@pytest.mark.parametrize("applied", ["own-word"], indirect=True)
def test_without_a_search_the_configuration_has_its_word(applied: Workspace) -> None:
    lineage = json.loads((applied.folder / "build/train/lineage.json").read_text())
    assert lineage["config"]["optim"]["lr"] == 0.004
    assert lineage["search"]["trials"] == 0
    assert applied.report("register")["outcome"] == "candidate"
    assert "none (tune: none)" in applied.run("mien", "status").stdout


@pytest.mark.parametrize("applied", ["in-colour"], indirect=True)
def test_where_a_search_overrules_a_value_the_summary_says_so(applied: Workspace) -> None:
    overruled = applied.report("tune")["overruled"]["optim.lr"]
    assert overruled["config"] == 20 > overruled["search"]
    said = applied.run("mien", "status").stdout
    assert f"optim.lr: 20 → {overruled['search']:.3g}" in said
    assert "64 px RGB" in said
    rates = (applied.folder / "build/train/history.csv").read_text().splitlines()
    column = rates[0].split(",").index("lr")
    assert max(float(row.split(",")[column]) for row in rates[1:]) <= overruled["search"]


def test_the_documented_command_line_shows_them_in_readable_columns(after: Workspace) -> None:
    page = (ROOT / "docs/howto/experiments.md").read_text()
    documented = re.search(r"dvc exp show --only-changed(.|\n)*?(?=\n```)", page)
    assert documented
    said = after.run("bash", "-c", f"{documented[0]} --no-pager", COLUMNS="120").stdout
    assert "…" not in said
    head = next(line for line in said.splitlines() if "Experiment" in line)
    assert head.split() == ["Experiment", "val_accuracy", "val_loss", "val_macro_f1", "used.optim.lr", "crop", "tune"]
    for name, values in (("own-word", ["grey48", "none"]), ("in-colour", ["rgb64", "quick"])):
        row = next(line for line in said.splitlines() if name in line).split()
        assert row[-2:] == values
        (used,) = asked(
            after,
            f"select value from runs join params using (run_uuid) where name like '{name} · %' and key = 'optim.lr'",
        )
        assert row[-3] == f"{float(used[0]):.5g}" != "20"


def test_their_plots_are_laid_over_each_other(after: Workspace) -> None:
    after.run("dvc", "plots", "diff", *QUEUED, "-o", "build/compared")
    page = (after.folder / "build/compared/index.html").read_text()
    for name in QUEUED:
        assert page.count(name) > 10  # rows of the curves, and pictures
        assert list((after.folder / "build/compared").rglob(f"{name}_*curves.png"))


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
    arguments = [f"{group}={choices[group]}" for group in ("data", "model", "augment", "optim", "train", "trainer")]
    clone.run("dvc", "unprotect", "build/train")
    clone.run("python", "-m", "pipelines", "train", *arguments)
    lineage = json.loads((clone.folder / "build/train/lineage.json").read_text())
    assert best["made_on"].items() <= lineage.items()
    assert lineage["digest"] != best["digest"]
    assert hardware_words(lineage).endswith("after a search on a GPU, bf16")
    said = " ".join(clone.run("mien", "status").stdout.split())
    assert "trained on" in said and "after a search on a GPU, bf16" in said
