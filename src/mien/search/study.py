"""Search of hyperparameters: an Optuna study that survives kills and repeats itself.

Facts behind it: a seeded sampler that is created again repeats its trials, so each trial gets a sampler seeded
by how many have ended; the journal has no heartbeat, so trials that a killed process left RUNNING are failed and their
values are tried again. With one worker a search that was killed and continued ends as an undisturbed one.
"""

import dataclasses
import json
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import optuna
import pytorch_lightning as pl
import torch
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState
from pytorch_lightning.callbacks import LambdaCallback

from mien.base.errors import UserError
from mien.base.listener import Listener
from mien.search.space import Space, TuneConfig, search_space
from mien.training.dataset import refuse_larger_batch
from mien.training.fit import Diverged, fit
from mien.training.hardware import choose_hardware
from mien.training.inputs import Inputs

JOURNAL: Final = "journal.log"
QUEUED: Final = "mien.values"  # a user attribute: the values with which a trial was enqueued
ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED)

# Trains with the trial's values, reports each epoch to the trial (which may prune), returns the validation loss.
Objective = Callable[[Trial, dict[str, Any]], float]


class Search:
    """The search that a configuration asks for; without trials its report says that the configured values stay.

    `lineage` says what the numbers depend on. `state_key` is the digest of the study's state: more trials or workers
    continue a study, so they are no part of it.

    Raises:
        UserError: the space does not fit the recipe, or a batch in it needs more faces than there are.
    """

    def __init__(self, inputs: Inputs, config: TuneConfig) -> None:
        self.inputs = inputs
        self.config = config
        self.space: Space = {}
        made_on = None
        if config.trials:
            self.space = search_space(config.space, inputs.recipe)
            sizes = config.space.get("train.batch_size", {})  # refused here, not in the middle of the search
            largest = max(inputs.recipe.train.batch_size, *sizes.get("choices", ()), sizes.get("high", 0))
            refuse_larger_batch(largest, inputs.train)
            made_on = choose_hardware(inputs.recipe.train).made_on
        self.lineage = {
            "digest": inputs.digest(tune=dataclasses.asdict(config), made_on=made_on),
            "data": inputs.data,
            "model": inputs.choices["model"],
            "run": inputs.run_name,
            "made_on": made_on,
            "objective": "val_loss",
        }
        continued = dataclasses.replace(config, trials=min(config.trials, 1), workers=1)
        self.state_key = inputs.digest(tune=dataclasses.asdict(continued), made_on=made_on)

    def run(self, folder: Path, listener: Listener) -> dict[str, Any]:
        """Search, or not: the content of reports/tune.json. A study whose journal is in `folder` is continued."""
        own = {key: self.inputs.recipe.value(key) for key in self.space}
        trials: list[FrozenTrial] = []
        best, values = None, {}
        if self.config.trials:
            objective = ShortTraining(self.inputs, self.config.epochs)
            trials = search(objective, self.space, own, self.config, folder, listener)[: self.config.trials]
            found = best_trial(trials)
            best, values = {"trial": trials.index(found), "value": found.value}, found.params
        return {
            **self.lineage,
            "best": best,
            "values": values,
            "overruled": {
                key: {"config": own[key], "search": value} for key, value in sorted(values.items()) if value != own[key]
            },
            "space": {key: json.loads(distribution_to_json(distribution)) for key, distribution in self.space.items()},
            "trials": [trial_row(i, trial) for i, trial in enumerate(trials)],
        }


def trial_row(number: int, trial: FrozenTrial) -> dict[str, Any]:
    """A trial as a row; its number is its place among the ended ones, as Optuna's own count killed ones too."""
    return {
        "number": number,
        "state": trial.state.name,
        "params": trial.params,
        "value": trial.value,
        "history": [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
    }


@dataclass(frozen=True)
class ShortTraining:
    """An objective: the lowest validation loss of a training with the trial's values and `epochs` epochs.

    Each epoch's loss is reported to the trial, which may end the training; one that diverges counts as pruned.
    """

    inputs: Inputs
    epochs: int

    def __call__(self, trial: Trial, values: Mapping[str, Any]) -> float:
        """Train and score; a hopeless trial raises optuna.TrialPruned."""

        def report(trainer: pl.Trainer, _: pl.LightningModule) -> None:
            loss = float(trainer.callback_metrics["val_loss"])
            if math.isfinite(loss):  # the median of the other trials must stay a number
                trial.report(loss, trainer.current_epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        short = {**values, "train.epochs": self.epochs, "train.patience": 0}
        new = self.inputs.with_recipe(self.inputs.recipe.with_values(short))
        pruning = [LambdaCallback(on_validation_epoch_end=report)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                fitted = fit(new.spec, new.recipe, new.train, new.val, Path(folder), callbacks=pruning, verbose=False)
            except Diverged as error:
                raise optuna.TrialPruned from error
        return min(row["val_loss"] for row in fitted.history)


def search(
    objective: Objective, space: Space, own: dict[str, Any], config: TuneConfig, folder: Path, listener: Listener
) -> list[FrozenTrial]:
    """The ended trials (complete or pruned) of the study in `folder`, which is run until it has `config.trials`.

    A study found there is continued; the first trial has the config's `own` values. `objective` must be a function of
    the values alone; `listener.trial` is called after each trial, unless there are several workers.

    Raises:
        UserError: the journal cannot be read, a worker was killed, or no trial was completed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_torn_line(folder / JOURNAL)
    study = _open(folder / JOURNAL, config)
    _fill_queue(study, space, own)
    if config.workers == 1:
        _work(study, objective, space, config, listener)
    else:
        _work_in_parallel(folder, objective, space, config)
    trials = _trials(study, *ENDED)
    if not any(t.state == TrialState.COMPLETE for t in trials):
        raise UserError("tune: no trial was completed; raise conf/tune's prune_after or look at the errors above.")
    return trials


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The complete trial with the lowest validation loss; of equals the first."""
    return min((t for t in trials if t.state == TrialState.COMPLETE), key=attrgetter("value"))


def _open(journal: Path, config: TuneConfig) -> optuna.Study:
    # A lock older than 3 seconds is a dead process's: no write to the journal takes that long.
    backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal), grace_period=3))
    pruner = optuna.pruners.MedianPruner(min(config.startup_trials, 4), config.prune_after)
    try:
        storage = JournalStorage(backend)
        return optuna.create_study(storage=storage, pruner=pruner, study_name="mien", load_if_exists=True)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"tune: the study's journal {journal} is damaged ({error}); delete it to start the search again."
        ) from error


def _cut_torn_line(journal: Path) -> None:
    """Remove the end of a write that a full disk or a power cut broke off: what is appended to it is unreadable."""
    content = journal.read_bytes() if journal.exists() else b""
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _trials(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=states)


def _fill_queue(study: optuna.Study, space: Space, own: dict[str, Any]) -> None:
    """Queue the values of trials that a dead process left RUNNING, then fail these; a new study begins with its own.

    A kill in between changes nothing. A trial that was killed while its values were drawn has only some of them: its
    sampler draws all of them again.
    """
    queued = [trial.user_attrs[QUEUED] for trial in _trials(study, TrialState.WAITING)]
    for trial in _trials(study, TrialState.RUNNING):
        values = trial.user_attrs.get(QUEUED, trial.params)
        if set(values) == set(space) and values not in queued:
            study.enqueue_trial(values, user_attrs={QUEUED: values})
        study.tell(trial.number, state=TrialState.FAIL)
    if not _trials(study, *ENDED, TrialState.WAITING):
        study.enqueue_trial(own, user_attrs={QUEUED: own})


def _work(study: optuna.Study, objective: Objective, space: Space, config: TuneConfig, listener: Listener) -> None:
    while (ended := len(_trials(study, *ENDED))) < config.trials:
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed + ended, n_startup_trials=config.startup_trials, multivariate=True
        )
        trial = study.ask(space)
        try:
            done = study.tell(trial, objective(trial, dict(trial.params)))
        except optuna.TrialPruned:
            done = study.tell(trial, state=TrialState.PRUNED)
        listener.trial(trial_row(ended, done))


def _work_in_parallel(folder: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
    """Several processes on one journal: faster, and in an order that nobody can repeat."""
    with ProcessPoolExecutor(config.workers, multiprocessing.get_context("spawn")) as pool:
        works = [pool.submit(_worker, folder / JOURNAL, objective, space, config) for _ in range(config.workers)]
    try:
        for work in works:
            work.result()
    except BrokenProcessPool as error:
        raise UserError("tune: a worker was killed, as for want of memory; say fewer workers in conf/tune.") from error


def _worker(journal: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // config.workers, 1))
    _work(_open(journal, config), objective, space, config, Listener())


def _end_with_parent() -> None:
    """A killed search takes its workers along: they would write beside those of the next one."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
