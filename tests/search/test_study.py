"""The search: begins with the config's own values, repeats itself, and survives kills."""

import dataclasses
import itertools
import json
import math
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from mien.base.errors import UserError
from mien.base.listener import Listener
from mien.base.settings import read_settings
from mien.models.description import ModelConfig, ModelSpec
from mien.runtime.spec import CutSpec
from mien.search import tuning
from mien.search.space import Confirm, TuneConfig, search_space
from mien.search.storage import JOURNAL, Home
from mien.search.study import best_trials, search, trial_row
from mien.search.tuning import Search, compare, confirm
from mien.training.fit import Diverged
from mien.training.inputs import Inputs
from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig
from pipelines.compose import CONF
from tests.training.tasks import bars

SPACE = {
    "optim.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "model.dropout": {"low": 0.0, "high": 0.5},
    "train.batch_size": {"choices": [32, 64]},
}
RECIPE = Recipe(ModelConfig("resnet"), AugmentConfig(), OptimConfig(), TrainConfig())
OWN = {key: RECIPE.value(key) for key in SPACE}
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{Path('src').resolve()}{os.pathsep}{Path.cwd()}"}
CONFIG = TuneConfig(trials=9, epochs=4, startup_trials=3, prune_after=1, confirm=Confirm(2, 1), space=SPACE)


def valley(trial: BaseTrial, values: dict[str, Any]) -> float:
    """A loss with a known minimum and some noise by the seed, reported epoch by epoch as a training would."""
    noise = values.get("train.seed", 0) % 100 / 1000
    loss = (math.log10(values["optim.lr"]) + 2) ** 2 + values["model.dropout"] + noise
    for epoch in range(4):
        trial.report(loss + 4 - epoch, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


def searched(folder: Path, config: TuneConfig = CONFIG, listener: Listener | None = None) -> list[FrozenTrial]:
    folder.mkdir(exist_ok=True)
    space = search_space(config.space, RECIPE)
    return search(valley, space, OWN, config, home(folder), listener or Listener())


def home(folder: Path) -> Home:
    return Home(str(folder / JOURNAL))


def run(folder: Path, config: TuneConfig = CONFIG) -> list[tuple[Any, ...]]:
    """The trials, and at last what their confirmation found."""
    trials = searched(folder, config)
    return [*((t.state, t.params, t.value) for t in trials), confirm(valley, trials, OWN, config, 42, home(folder))]


def test_the_first_trial_has_the_configs_own_values_and_the_best_is_the_lowest_complete_one(tmp_path: Path) -> None:
    trials = searched(tmp_path)
    assert trials[0].params == {"optim.lr": 1e-3, "model.dropout": 0.2, "train.batch_size": 64}
    assert len(trials) == 9
    best = best_trials(trials)[0]
    assert best.state == TrialState.COMPLETE
    assert best.value == min(t.value for t in trials if t.state == TrialState.COMPLETE)


class Trials(Listener):
    """Hears of trials."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []

    def trial(self, row: Mapping[str, Any]) -> None:
        self.rows.append(row)


def test_a_listener_hears_of_each_trial_that_this_process_ends(tmp_path: Path) -> None:
    heard = Trials()
    *few, _ = run(tmp_path, dataclasses.replace(CONFIG, trials=2))
    trials = searched(tmp_path, listener=heard)
    assert len(few) == 2
    assert heard.rows == [trial_row(i, trial) for i, trial in enumerate(trials)][2:]


def test_more_trials_continue_the_study(tmp_path: Path) -> None:
    *few, _ = run(tmp_path / "a", dataclasses.replace(CONFIG, trials=5))
    many = run(tmp_path / "a")
    assert many[:5] == few
    assert many == run(tmp_path / "b")


def test_neighbouring_seeds_are_other_searches(tmp_path: Path) -> None:
    """Not the same trials one place further on, as seed + number makes them."""
    drawn = [run(tmp_path / f"{seed}", dataclasses.replace(CONFIG, startup_trials=9, seed=seed)) for seed in (42, 43)]
    rates = [{params["optim.lr"] for _, params, _ in trials[1:9]} for trials in drawn]
    assert len(rates[0]) == len(rates[1]) == 8
    assert rates[0].isdisjoint(rates[1])


@pytest.mark.parametrize("choice", ["quick", "thorough"])
def test_noise_does_not_overrule_the_configuration_and_a_true_gain_does(choice: str) -> None:
    """With the shipped confirmation: values that differ by chance alone, and one that is better by 5 times that."""
    config, random = read_settings(CONF, "tune", choice), np.random.default_rng(0)
    shares = []
    for gain in (0.0, 5.0):
        overruled = 0
        for _ in range(400):
            true = np.r_[np.zeros(config.trials - 1), -gain]
            first = true + random.normal(size=config.trials)
            best = [int(i) for i in first.argsort()[: config.confirm.best] if i]
            rows = [0, *best]
            further = true[rows, None] + random.normal(size=(len(rows), config.confirm.seeds))
            overruled += compare(np.column_stack([first[rows], further]), best)["overrules"]
        shares.append(overruled / 400)
    assert shares[0] <= 0.15  # the lowest of these trials is another than the first in 86 and 98 of 100
    assert shares[1] >= 0.85


def test_the_configured_values_are_confirmed_too_and_nothing_twice(tmp_path: Path) -> None:
    trials = searched(tmp_path)
    asked: list[dict[str, Any]] = []

    def counted(trial: BaseTrial, values: dict[str, Any]) -> float:
        asked.append(values)
        if len(asked) == 5:
            raise Killed
        return valley(trial, values)

    config = dataclasses.replace(CONFIG, confirm=Confirm(2, 2))
    with pytest.raises(Killed):
        confirm(counted, trials, OWN, config, 42, home(tmp_path))
    found = confirm(counted, trials, OWN, config, 42, home(tmp_path))
    assert len(asked) == 7  # of 6, the one that was killed twice
    assert [{**values, "train.seed": 0} for values in asked[:2]] == [{**OWN, "train.seed": 0}] * 2
    assert {values["train.seed"] for values in asked} == set(found["seeds"]) == set(found["seeds"]) - {42}
    best = [trials.index(trial) for trial in best_trials(trials)[:2]]
    assert list(found["losses"]) == ["configuration", *(f"trial {number}" for number in best)]
    assert found == confirm(counted, trials, OWN, config, 42, home(tmp_path))
    means = [np.mean(losses) for losses in found["losses"].values()]
    assert found["trial"] in best
    assert found["overrules"]
    assert found["gain"] == pytest.approx(means[0] - min(means[1:]))
    assert f"{found['gain']:.3f} lower than the configuration's (standard error {found['spread']:.3f})" in found["says"]


class Killed(BaseException):
    """The end of the process: nothing after it runs."""


def killed_at(monkeypatch: pytest.MonkeyPatch, write: int, folder: Path, config: TuneConfig) -> bool:
    """Run until the journal's n-th write; whether it came so far."""
    real, writes = JournalFileBackend.append_logs, itertools.count(1)

    def append_logs(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        real(self, logs)
        if next(writes) == write:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", append_logs)
        try:
            run(folder, config)
        except (Killed, UnboundLocalError):  # the latter from Optuna, of a kill while it ends a trial
            return True
    return False


def test_a_search_killed_after_any_write_to_its_journal_and_again_ends_as_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(CONFIG, trials=3, startup_trials=2)
    undisturbed = run(tmp_path / "undisturbed", config)
    for write in itertools.count(1):
        if not killed_at(monkeypatch, write, tmp_path / f"{write}", config):
            break
        for again in (1, 2, 3):  # while it takes up what the first kill left
            killed_at(monkeypatch, again, tmp_path / f"{write}", config)
        assert run(tmp_path / f"{write}", config) == undisturbed, f"killed after write {write}"
    assert write > 20


def test_a_lock_that_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / f"{JOURNAL}.lock").touch()
    assert len(run(tmp_path)) == 10


def test_a_write_that_was_broken_off_costs_nothing_but_itself(tmp_path: Path) -> None:
    undisturbed = run(tmp_path / "undisturbed")
    run(tmp_path / "full", dataclasses.replace(CONFIG, trials=4))
    journal = tmp_path / "full" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-10])
    assert run(tmp_path / "full") == undisturbed


def test_what_one_worker_broke_off_does_not_spoil_what_others_write(tmp_path: Path) -> None:
    def tearing(trial: BaseTrial, values: dict[str, Any]) -> float:
        with (tmp_path / JOURNAL).open("ab") as journal:
            journal.write(b'{"op_code":8,"worker_id":"')
        return valley(trial, values)

    torn = search(tearing, search_space(SPACE, RECIPE), OWN, CONFIG, home(tmp_path), Listener())
    assert [(t.state, t.params, t.value) for t in torn] == run(tmp_path / "whole")[:-1]


WORKERS = """
import os, pickle, sys, time
from pathlib import Path
from mien.base.listener import Listener
from mien.search.storage import JOURNAL, Home
from mien.search.study import search
def endless(trial, values):
    (Path(sys.argv[1]) / f"{os.getpid()}.pid").touch()
    time.sleep(60)
if __name__ == "__main__":
    search(endless, *pickle.loads(bytes.fromhex(sys.argv[2])), Home(sys.argv[1] + "/" + JOURNAL), Listener())
"""


def test_workers_end_with_a_killed_search(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text(WORKERS)
    given = pickle.dumps((search_space(SPACE, RECIPE), OWN, dataclasses.replace(CONFIG, workers=2))).hex()
    search = subprocess.Popen([sys.executable, tmp_path / "search.py", tmp_path, given], env=ENVIRONMENT)
    while len(pids := [int(file.stem) for file in tmp_path.glob("*.pid")]) < 2:
        assert search.poll() is None
        time.sleep(0.1)
    search.kill()
    search.wait()
    assert not psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=20)[1]


def test_a_search_whose_trainings_all_diverge_says_so(tmp_path: Path) -> None:
    def diverging(trial: BaseTrial, values: dict[str, Any]) -> float:
        raise optuna.TrialPruned

    with pytest.raises(UserError, match=r"no trial was completed: every loss diverged; lower optim\.lr"):
        search(diverging, search_space(SPACE, RECIPE), OWN, CONFIG, home(tmp_path), Listener())


def test_a_damaged_journal_is_refused_with_its_path(tmp_path: Path) -> None:
    run(tmp_path)
    journal = tmp_path / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    for there in ([lines[0], b"#### not json\n", *lines[1:]], [b"#### not json\n"]):
        journal.write_bytes(b"".join(there))
        with pytest.raises(UserError, match=r"journal.log is damaged"):
            run(tmp_path)


def test_the_space_is_widened_to_hold_the_configs_own_value() -> None:
    recipe = RECIPE.with_values({"optim.lr": 0.5, "train.batch_size": 48})
    space = search_space(SPACE, recipe)
    assert space["optim.lr"].to_internal_repr(0.5) == 0.5
    assert 48 in space["train.batch_size"].choices


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"optim.lr": {"low": 1e-1}}, r"optim.lr: write \{low"),
        ({"optim.lr": [1, 2]}, r"optim.lr: write \{low"),
        ({"optim.lr": {"low": float("nan"), "high": 1}}, "optim.lr: low nan and high 1 must be two numbers"),
        ({"optim.lr": {"low": -1, "high": 1}}, "optim.lr: lr must be greater than 0, not -1.0"),
        ({"optim.lr": {"low": 0, "high": 1, "log": True}}, "optim.lr: `low > 0` must hold for `log=True`"),
        ({"optim.lr": {"choices": 3}}, r"optim.lr: choices must be a list such as \[1, 2\], not 3"),
        ({"optim.lr": {"choices": []}}, "optim.lr: choices must be a list"),
        ({"optim.lr": {"choices": ["a"]}}, "optim.lr: choice 'a' is not a value like the configured 0.001"),
        ({"optim.lr": {"choices": [1], "low": 1, "high": 2}}, r"optim.lr: write \{low"),
        ({"optim.schedule": {"choices": ["cosine", "step"]}}, "schedule must be .*, not 'step'"),
        ({"train.class_weights": {"low": 0, "high": 1}}, "class_weights: its values, such as False, have no range"),
        (
            {"train.batch_size": {"low": 1, "high": 64}},
            r"batch_size: batch_size must be greater than or equal to 2, not 1",
        ),
        ({"model.dropout": {"low": 0, "high": 1}}, "model.dropout: dropout must be less than 1, not 1.0"),
        (
            {"model.init": {"choices": ["none", "models:/a/1"]}},
            "model.init: a search cannot choose .* as models:/a/1; take",
        ),
    ],
)
def test_a_wrong_space_names_the_key(space: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        search_space(space, RECIPE)


def inputs_of(values: dict[str, Any], faces: int) -> Inputs:
    recipe = RECIPE.with_values({"model.width": 4, "train.batch_size": 16, "trainer.precision": "32", **values})
    spec = ModelSpec(dataclasses.asdict(recipe.model), CutSpec(24, "grey"))
    return Inputs("bars", {"model": "resnet4"}, spec, recipe, bars(faces, 0), bars(16, 1), "d", "s")


def test_values_with_which_a_training_diverges_are_pruned_and_overruled(tmp_path: Path) -> None:
    """The configuration's own, in real trainings; a trial that diverges must not be asked for without end."""
    inputs = inputs_of({"optim.lr": 1e30}, 32)
    space = {"optim.lr": {"choices": [0.003, 0.01]}}
    config = dataclasses.replace(CONFIG, trials=4, epochs=1, startup_trials=4, space=space)
    report = Search(inputs, config).run(tmp_path, Listener())
    json.dumps(report, allow_nan=False)
    states = [trial["state"] for trial in report["trials"]]
    assert states[0] == "PRUNED"
    assert "COMPLETE" in states[1:]
    assert report["confirmed"]["overrules"]
    assert report["confirmed"]["losses"]["configuration"] == [None]
    assert "With 1 further seed the configuration's own values diverge: trial " in report["confirmed"]["says"]
    assert report["overruled"] == {"optim.lr": {"config": 1e30, "search": report["values"]["optim.lr"]}}
    assert report["values"]["optim.lr"] in (0.003, 0.01)


def test_a_search_whose_minutes_are_up_hands_on_what_it_found_and_says_so(tmp_path: Path) -> None:
    space = {"optim.lr": {"choices": [0.003, 0.01]}}
    config = dataclasses.replace(CONFIG, trials=4, epochs=1, startup_trials=4, space=space, confirm=Confirm())
    inputs = inputs_of({}, 32)
    short = Search(inputs, dataclasses.replace(config, minutes=1e-6))
    report = short.run(tmp_path, Listener())
    assert (len(report["trials"]), report["stopped"]) == (1, "stopped by tune.minutes after trial 1 of 4")
    whole = Search(inputs, config)
    assert whole.state_key == short.state_key  # more time continues the study
    report = whole.run(tmp_path, Listener())
    assert (len(report["trials"]), report["stopped"]) == (4, "")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_search_does_not_go_where_trainings_diverge_after_epochs_that_look_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The upper third of the shipped rates; all that a trial reported before it diverged is lower than any other."""
    edge = 0.003

    def trained(spec: ModelSpec, recipe: Recipe, *_: Any, callbacks: Sequence[Any], **__: Any) -> SimpleNamespace:
        history, diverges = [], recipe.optim.lr > edge
        for epoch in range(recipe.train.epochs):
            loss = 0.1 if diverges else 1 + abs(math.log(recipe.optim.lr / 0.001)) / 5 + 1 / (1 + epoch)
            history.append({"val_loss": loss})
            callbacks[0].on_validation_end(SimpleNamespace(callback_metrics=history[-1], current_epoch=epoch), None)
            if diverges and epoch == 5:
                raise Diverged("infinite")
        return SimpleNamespace(history=history, best_epoch=epoch)

    monkeypatch.setattr(tuning, "fit", trained)
    shipped = read_settings(CONF, "tune", "thorough")
    config = dataclasses.replace(shipped, seed=seed, confirm=Confirm())
    recipe = RECIPE.with_values({"train.monitor": "val_loss", "trainer.precision": "32"})
    spec = ModelSpec(dataclasses.asdict(recipe.model), CutSpec(24, "grey"))
    inputs = Inputs("bars", {"model": "resnet16"}, spec, recipe, bars(256, 0), bars(16, 1), "d", "s")
    report = Search(inputs, config).run(tmp_path, Listener())
    diverged = np.array([trial["params"]["optim.lr"] > edge for trial in report["trials"]])
    assert diverged[: config.startup_trials].any()
    assert diverged[config.startup_trials :].mean() < 1 / 6
    assert diverged[-10:].sum() <= 2
    assert report["values"]["optim.lr"] <= edge


def test_trials_are_ranked_by_what_the_training_monitors(tmp_path: Path) -> None:
    inputs = inputs_of({"train.monitor": "val_accuracy"}, 64)
    space = {"optim.lr": {"choices": [0.003, 0.01]}}
    report = Search(inputs, dataclasses.replace(CONFIG, trials=2, epochs=2, space=space)).run(tmp_path, Listener())
    assert report["objective"] == "1 - val_accuracy"
    for trial in report["trials"]:
        right = 16 * (1 - np.array(trial["history"]))
        np.testing.assert_allclose(right, np.round(right), atol=1e-4)  # of 16 validation faces
        assert trial["value"] == pytest.approx(min(trial["history"]))
    assert report["best"]["value"] == min(trial["value"] for trial in report["trials"])
