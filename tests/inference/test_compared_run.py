"""Which run a person means, in a real store."""

from pathlib import Path

import pytest

from mien.base.errors import UserError
from mien.inference.compared_run import find_run
from mien.registry.gate import RegisterConfig
from mien.registry.registration import register
from mien.tracking.runs import of_epoch
from mien.tracking.store import connect
from tests.inference.two_runs import STRONG, WEAK, id_of, store
from tests.registry.workspace import candidate_of

__all__ = ["store"]


def test_a_run_is_found_by_id_beginning_name_and_folder(store: Path) -> None:
    run = id_of(WEAK)
    client = connect()
    for said in (run, run[:12], "resnet4 · 24 px · 8-0"):
        found = find_run(said)
        assert (found.key, found.data, found.source) == (run, "tiny", f"run {run[:8]}")
    assert len(found.faces) == found.metrics["test/n"]
    assert found.epochs == [(0, {"val_loss": 1.5}), (1, {"val_loss": 1.25})]
    assert found.params["optim.lr"] == "0.01"
    folder, stored = find_run("."), find_run(id_of(STRONG))
    assert folder.metrics == {key: v for key, v in stored.metrics.items() if key.startswith(("val/", "test"))}
    assert folder.validated("accuracy") == 0.5
    assert folder.params == stored.params and list(folder.epochs) == list(stored.epochs)
    assert client.get_run(run).data.metrics.keys() >= of_epoch({"val_loss": 1.25}).keys()


def test_a_registered_version_leads_to_its_run(store: Path) -> None:
    register(candidate_of(store), RegisterConfig(bootstrap=100), decides=True)
    for said in ("models:/mien-tiny/1", "mien-tiny@champion", "models:/mien-tiny@champion"):
        found = find_run(said)
        assert (found.key, found.source) == (id_of(STRONG), f"{said}, run {id_of(STRONG)[:8]}")
    for said, reason in (
        ("mien-tiny@previous", "its versions are 1; `mien rollback`"),
        ("models:/mien-tiny/7", "its versions are 1; `mien rollback`"),
        ("mien-other@champion", "`make repro` trains and promotes one"),
    ):
        with pytest.raises(UserError, match=rf"there is no .*{said}.*: {reason}"):
            find_run(said)


def test_who_names_none_or_several_is_told_in_one_sentence(store: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run 'resnet4 24 px'; the newest: .*resnet4 · 24 px · "):
        find_run("resnet4 24 px")
    client = connect()
    twin = client.create_run(client.get_experiment_by_name("tiny").experiment_id, run_name="half done").info.run_id
    with pytest.raises(UserError, match=rf"'half done' means 2 runs, such as .*{twin[:8]}.*; name a run's id"):
        find_run("half done")
    first = [id_of(digest)[0] for digest in (WEAK, STRONG, "half", "8-0-trial-0")] + [twin[0]]
    if shared := [letter for letter in first if first.count(letter) > 1]:
        with pytest.raises(UserError, match=r"means \d runs, such as"):
            find_run(shared[0])


def test_what_has_no_predictions_is_told_in_one_sentence(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\(half done\) has no evaluation/predictions.csv"):
        find_run("half done")
    with pytest.raises(UserError, match=r"\(trial 0\) is a trial of a search"):
        find_run("trial 0")
    with pytest.raises(UserError, match=r"lineage.json is missing; `dvc repro train` writes it again"):
        find_run(str(tmp_path))
    (store / "reports/predictions.csv").write_text("face_id,image\n")
    with pytest.raises(UserError, match="lacks the column label"):
        find_run(".")
