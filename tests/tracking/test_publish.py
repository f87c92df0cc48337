"""Runs brought level with files, once: what they hold, how they are called, and what they say to people."""

import json
import logging
import shutil
import time
from pathlib import Path

import pytest
from mlflow.entities import Run

from mien.base.errors import UserError
from mien.reporting import pages
from mien.tracking.publish import publish, publish_evaluation, publish_search, publish_training, sync
from mien.tracking.runs import NOTES, RunIdentity, find_run, obtain_run, with_section
from mien.tracking.store import NOTE, URI, VIEW, connect, find_experiment, run_links, shown
from tests.stores import with_store


def run_of(digest: str = "d1") -> Run:
    run = find_run(connect(), "tiny", digest)
    assert run is not None
    return run


def artifacts(run: Run, folder: str) -> list[str]:
    found = connect().list_artifacts(run.info.run_id, folder)
    return sorted(file.path.removeprefix(f"{folder}/") for file in found)


def test_a_training_is_published_with_its_configuration_epochs_data_and_files(trained: Path) -> None:
    publish_training(connect(), trained)
    run = run_of()
    assert (run.info.run_name, run.info.status) == ("resnet4 · 24 px grey · d1", "FINISHED")
    assert (run.data.params["optim.lr"], run.data.params["config.optim.lr"]) == ("0.003", "0.01")
    assert run.data.params["choice.optim"] == "adam"
    metrics = {"val/loss": 1.25, "val/accuracy": 0.45, "epoch/val_loss": 1.25, "epoch/val_accuracy": 0.4}
    assert run.data.metrics == metrics
    assert run.data.tags["mien.data_digest"] == "a" * 64
    assert len(run.data.tags["mien.dvc_lock"]) == 16
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("tiny", "a" * 36)
    assert artifacts(run, "training") == ["history.csv", "lineage.json", "train.json"]


def test_an_evaluation_is_published_with_intervals_and_figures(trained: Path) -> None:
    publish_evaluation(connect(), trained)
    run = run_of()
    assert run.data.metrics == {
        "test/n": 90.0,
        "test/photos": 70.0,
        "test/majority_share": 0.2,
        "test/accuracy": 0.6,
        "test/interval/accuracy_low": 0.5,
        "test/interval/accuracy_high": 0.7,
        "test/macro_f1": 0.58,
        "test/uncalibrated/ece": 0.2,
        "test/per_class/angry/recall": 0.5,
        "test/per_class/angry/support": 12.0,
        "test/per_class/fear/support": 0.0,
        "test_leak_free/n": 80.0,
        "test_leak_free/accuracy": 0.55,
        "test_leak_free/interval/accuracy_low": 0.4,
        "test_leak_free/interval/accuracy_high": 0.7,
    }
    assert artifacts(run, "evaluation") == ["confusion.png", "index.html", "metrics.json"]


def test_trials_are_children_of_the_training(trained: Path) -> None:
    publish_search(connect(), trained)
    publish_training(connect(), trained)
    parent = run_of()
    trials = [run_of(f"d1-trial-{number}") for number in (0, 1)]
    assert [trial.info.run_name for trial in trials] == ["trial 0", "trial 1"]
    assert [trial.info.status for trial in trials] == ["FINISHED", "KILLED"]
    assert {trial.data.tags["mlflow.parentRunId"] for trial in trials} == {parent.info.run_id}
    history = connect().get_metric_history(trials[0].info.run_id, "epoch/val_loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 1.5), (1, 1.2)]
    assert trials[0].data.metrics["trial/best_val_loss"] == 1.2


def test_sync_says_what_it_sent_and_sends_it_once_and_changed_files_again(trained: Path) -> None:
    first = sync(trained)
    assert "search: 2 trials, 2 parameters, 5 metrics, 1 files" in first
    assert "training: 7 parameters, 5 metrics, 3 files" in first
    assert "evaluation: 0 parameters, 15 metrics, 3 files" in first
    second = sync(trained)
    assert "search: 0 trials, 0 parameters, 0 metrics, 0 files" in second
    assert "training: 0 parameters, 0 metrics, 0 files" in second
    assert "evaluation: 0 parameters, 0 metrics, 0 files" in second
    run = run_of()
    assert len(connect().get_metric_history(run.info.run_id, "epoch/val_loss")) == 2
    assert len(run.inputs.dataset_inputs) == 1
    (trained / "reports/index.html").write_text("<p>another</p>")
    assert "evaluation: 0 parameters, 0 metrics, 3 files" in sync(trained)
    local = connect().download_artifacts(run.info.run_id, "evaluation/index.html")
    assert Path(local).read_text() == "<p>another</p>"


def test_another_evaluation_of_a_training_takes_a_step_of_its_own(trained: Path) -> None:
    file = trained / "reports/metrics.json"
    first = json.loads(file.read_text())
    for accuracy in (0.6, 0.6, 0.65, 0.6):
        file.write_text(json.dumps({**first, "accuracy": {**first["accuracy"], "value": accuracy}}))
        publish_evaluation(connect(), trained)
    history = connect().get_metric_history(run_of().info.run_id, "test/accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.6), (1, 0.65), (2, 0.6)]


def test_the_link_to_the_ui_shows_trainings_and_their_score_by_their_accuracy_on_validation_faces(
    trained: Path,
) -> None:
    sync(trained)
    client = connect()
    experiment = client.get_experiment_by_name("tiny")
    link = run_links(client, "http://127.0.0.1:5000")["tiny"]
    assert link == f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=best"
    view = json.loads(json.loads(client.get_experiment(experiment.experiment_id).tags[VIEW])["state"])
    (run,) = client.search_runs([experiment.experiment_id], view["searchFilter"], order_by=[view["orderByKey"]])
    assert run.info.run_id == run_of().info.run_id
    assert run.data.tags["mien.score"] == "0.600 (0.500 to 0.700)"
    for column in ("tags.`mien.score`", "tags.`mien.alias`", view["orderByKey"]):
        assert column in view["selectedColumns"]
    assert view["orderByKey"] == "metrics.`val/accuracy`" and "val/accuracy" in run.data.metrics


def test_sync_without_a_training_says_so(checkout: Path) -> None:
    with pytest.raises(UserError, match="nothing to send"):
        sync(checkout)


@pytest.mark.parametrize("kind", ["closed_port", "hanging_server"])
def test_a_stage_never_fails_or_waits_long_for_a_broken_server(
    trained: Path,
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(URI, request.getfixturevalue(kind))
    monkeypatch.setattr("mien.tracking.publish.WITHIN", 1.0)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        publish(trained)
    assert time.monotonic() - start < 10
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "mien.tracking"]
    assert "`mien sync` sends" in warning


def test_a_damaged_file_is_one_warning(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    (trained / "build/train/history.csv").write_text("epoch,val_loss\n0,not a number\n")
    with caplog.at_level(logging.WARNING):
        publish(trained)
    assert "not a number" in caplog.text


def test_an_empty_store_is_filled_again(trained: Path, tmp_path: Path) -> None:
    before = sync(trained).split(" is up to date", 1)[1]
    other = with_store(tmp_path / "another machine")
    for folder in ("build", "reports"):
        shutil.copytree(trained / folder, other / folder)
    assert sync(other).split(" is up to date", 1)[1] == before
    assert run_of().data.metrics["test/n"] == 90


def test_no_message_shows_the_password_of_a_store(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql+psycopg2://mien:secret@db.example:5432/mien"
    assert shown(address) == "postgresql+psycopg2://db.example:5432/mien"
    assert shown("sqlite:///mlruns/mlflow.db") == "sqlite:///mlruns/mlflow.db"
    monkeypatch.setenv(URI, "http://mien:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9") as refused:
        sync(trained)
    assert "secret" not in str(refused.value)


def note() -> str:
    return str(run_of().data.tags[NOTE])


def test_a_run_and_its_experiment_say_what_they_are_with_its_accuracy_first(trained: Path) -> None:
    sync(trained)
    assert "mien-tiny" in find_experiment(connect(), "tiny").tags[NOTE]
    titles = [line for line in note().splitlines() if line.startswith("### ")]
    assert titles == ["### Test set", "### Training", "### Search"]
    assert "**Accuracy 60.0 % (50.0 to 70.0)**, 95 % interval, on 90 faces" in note()
    assert "accuracy 55.0 % (40.0 to 70.0)" in note()
    assert "`optim.lr`: 0.003 from the search, in place of 0.01" in note()
    assert "2 trials (the child runs), 1 of them stopped early." in note()


def test_a_later_sync_renews_its_sections_and_keeps_what_a_person_wrote(trained: Path) -> None:
    sync(trained)
    before = note()
    connect().set_tag(run_of().info.run_id, NOTE, f"Ada: keep this one.\n\n{before}\n\n### Ours\nmore")
    sync(trained)
    assert note() == f"Ada: keep this one.\n\n{before}\n\n### Ours\nmore"
    metrics = json.loads((trained / "reports/metrics.json").read_text())
    metrics["accuracy"]["value"] = 0.65
    (trained / "reports/metrics.json").write_text(json.dumps(metrics))
    sync(trained)
    assert note().startswith("Ada: keep this one.") and "**Accuracy 65.0 %" in note() and note().endswith("more")


def test_a_search_may_overrule_words() -> None:
    overruled = {"optim.name": {"config": "adam", "search": "sgd"}, "model.width": {"config": 16, "search": 32}}
    lineage = {"model": "m", "parameters": 1, "data": "d", "search": {"overruled": overruled}}
    text = pages.note(NOTES, "training", lineage, "a CPU")
    assert "`optim.name`: sgd from the search, in place of adam" in text
    assert "`model.width`: 32 from the search, in place of 16" in text


def test_sections_have_one_order_whoever_writes_first() -> None:
    one = with_section(with_section("", "Search", "s"), "Registered", "r")
    other = with_section(with_section("", "Registered", "r"), "Search", "s")
    assert one == other == "### Registered\nr\n\n### Search\ns"
    assert with_section(one, "Search", "s") == one


def test_a_training_in_an_experiment_begins_with_its_name_and_a_trial_does_not(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    monkeypatch.setenv("DVC_EXP_NAME", "slower")
    training = obtain_run(client, RunIdentity("faces", "net · ab12", "ab12"))
    trial = obtain_run(client, RunIdentity("faces", "trial 0", "ab12-trial-0", parent="ab12"))
    assert (training.info.run_name, trial.info.run_name) == ("slower · net · ab12", "trial 0")
    monkeypatch.delenv("DVC_EXP_NAME")
    again = obtain_run(client, RunIdentity("faces", "net · ab12", "ab12"))
    assert again.info.run_id == training.info.run_id
