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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
import pytorch_lightning as pl
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

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

    `lineage` is what the report begins with: digest, data, network, device and precision of the trials, objective.
    `state_key` is the digest of the study's state: more trials or workers continue a study, so they are no part of it.

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
        """Search, or not: the content of reports/tune.json.

        Args:
            folder: where the journal is; a study found there is continued.
            listener: its `trial` is called with each row of the report's `trials`.
        """
        own = {key: self.inputs.recipe.value(key) for key in self.space}
        trials: list[FrozenTrial] = []
        if self.config.trials:
            objective = ShortTraining(self.inputs, self.config.epochs)
            trials = search(objective, self.space, own, self.config, folder, listener)[: self.config.trials]
        best = best_trial(trials) if trials else None
        values = dict(best.params) if best else {}
        changed = {key: value for key, value in sorted(values.items()) if value != own[key]}
        return {
            **self.lineage,
            "best": {"trial": trials.index(best), "value": best.value} if best else None,
            "values": values,
            "overruled": {key: {"config": own[key], "search": value} for key, value in changed.items()},
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
    """An objective: the lowest validation loss of a training with the trial's values and `epochs` epochs."""

    inputs: Inputs
    epochs: int

    def __call__(self, trial: Trial, values: Mapping[str, Any]) -> float:
        """Train and score; values with which a training diverges count as pruned."""
        short = {**values, "train.epochs": self.epochs, "train.patience": 0}
        new = self.inputs.with_recipe(self.inputs.recipe.with_values(short))
        with tempfile.TemporaryDirectory() as folder:
            try:
                faces, pruning = (new.train, new.val), [Pruning(trial)]
                fitted = fit(new.spec, new.recipe, *faces, Path(folder), callbacks=pruning, verbose=False)
            except Diverged as error:
                raise optuna.TrialPruned from error
        return min(row["val_loss"] for row in fitted.history)


class Pruning(pl.Callback):
    """Reports each epoch's validation loss to the trial and ends the training where Optuna would prune."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report; a hopeless trial raises optuna.TrialPruned."""
        loss = float(trainer.callback_metrics["val_loss"])
        if math.isfinite(loss):  # the median of the other trials must stay a number
            self._trial.report(loss, trainer.current_epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


def search(
    objective: Objective,
    space: Space,
    own: dict[str, Any],
    config: TuneConfig,
    folder: Path,
    listener: Listener | None = None,
) -> list[FrozenTrial]:
    """Run the study in `folder` until it has `config.trials` ended trials; a study found there is continued.

    The first trial has the config's own values. `objective` must be a function of the values alone; `listener.trial` is
    called after each trial, unless there are several workers.

    Returns:
        the ended trials (complete or pruned) in the order of their start.

    Raises:
        UserError: the journal cannot be read, or no trial was completed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_torn_line(folder / JOURNAL)
    study = _open(folder / JOURNAL, config)
    _requeue_killed(study, space)
    if not _ended(study) and not _queued(study):
        study.enqueue_trial(own, user_attrs={QUEUED: own})
    if config.workers == 1:
        _work(study, objective, space, config, listener)
    else:
        _work_in_parallel(folder, objective, space, config)
    trials = _ended(study)
    if not any(t.state == TrialState.COMPLETE for t in trials):
        raise UserError("tune: no trial was completed; raise conf/tune's prune_after or look at the errors above.")
    return trials


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The complete trial with the lowest validation loss; of equals the first."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return min(complete, key=lambda trial: math.inf if trial.value is None else trial.value)


def _open(journal: Path, config: TuneConfig) -> optuna.Study:
    # A lock older than 3 seconds is a dead process's: no write to the journal takes that long.
    backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal), grace_period=3))
    pruner = optuna.pruners.MedianPruner(
        n_startup_trials=min(config.startup_trials, 4), n_warmup_steps=config.prune_after
    )
    try:
        return optuna.create_study(
            storage=JournalStorage(backend), study_name="mien", load_if_exists=True, pruner=pruner
        )
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


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=ENDED)


def _queued(study: optuna.Study) -> list[dict[str, Any]]:
    """The values of trials that wait in the queue."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return [trial.user_attrs[QUEUED] for trial in waiting]


def _requeue_killed(study: optuna.Study, space: Space) -> None:
    """Queue the values of trials that a dead process left RUNNING, then fail these; a kill in between changes nothing.

    A trial that was killed while its values were drawn has only some of them: its sampler draws all of them again.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        values = trial.user_attrs.get(QUEUED, trial.params)
        if set(values) == set(space) and values not in _queued(study):
            study.enqueue_trial(values, user_attrs={QUEUED: values})
        study.tell(trial.number, state=TrialState.FAIL)


def _work(
    study: optuna.Study, objective: Objective, space: Space, config: TuneConfig, listener: Listener | None = None
) -> None:
    while (ended := len(_ended(study))) < config.trials:
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed + ended, n_startup_trials=config.startup_trials, multivariate=True
        )
        trial = study.ask(space)
        try:
            done = study.tell(trial, objective(trial, dict(trial.params)))
        except optuna.TrialPruned:
            done = study.tell(trial, state=TrialState.PRUNED)
        if listener is not None:
            listener.trial(trial_row(ended, done))


def _work_in_parallel(folder: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
    """Several processes on one journal: faster, and in an order that nobody can repeat."""
    arguments = (folder / JOURNAL, objective, space, config)
    processes = [
        multiprocessing.get_context("spawn").Process(target=_worker, args=arguments) for _ in range(config.workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if failed := [p.exitcode for p in processes if p.exitcode]:
        raise UserError(f"tune: {len(failed)} of {config.workers} workers failed (exit codes {failed}); see above.")


def _worker(journal: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
    import torch  # only in the worker's own process

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // config.workers, 1))
    _work(_open(journal, config), objective, space, config)


def _end_with_parent() -> None:
    """A killed search takes its workers along: they would write beside those of the next one."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
