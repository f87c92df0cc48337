"""Hyperparameter search: a resumable, reproducible Optuna study.

Facts behind it: a seeded sampler that is created again repeats its trials, so each trial gets a sampler seeded
by how many have ended; the journal has no heartbeat, so trials that a killed process left RUNNING are failed and their
values are tried again. With one worker a search that was killed and continued ends as an undisturbed one.

The lowest of many losses is low by chance too, so the best few trials are trained again with further seeds, beside the
configuration's own values, before they overrule these.
"""

import dataclasses
import json
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
import pytorch_lightning as pl
import torch
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState
from pytorch_lightning.callbacks import LambdaCallback

from mien.base.errors import UserError
from mien.base.listener import Listener
from mien.search.space import Confirm, Space, TuneConfig, search_space
from mien.training.fit import Diverged, fit
from mien.training.hardware import made_on
from mien.training.inputs import Inputs
from mien.training.recipe import SCORES, cost, refuse_larger_batch, refuse_longer_average
from mien.training.seeds import derived_seed

JOURNAL: Final = "journal.log"
QUEUED: Final = "mien.values"  # a user attribute: the values with which a trial was enqueued
ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED)

# Trains with the trial's values, reports each epoch to the trial (which may prune), returns its cost.
Objective = Callable[[BaseTrial, dict[str, Any]], float]


class Search:
    """The search that a configuration asks for; without trials its report says that the configured values stay.

    `lineage` says what the numbers depend on. `state_key` is the digest of the study's state: more trials, workers or
    confirmations continue a study, so they are no part of it.

    Raises:
        UserError: the space does not fit the recipe, or a batch in it needs more faces than there are.
    """

    def __init__(self, inputs: Inputs, config: TuneConfig) -> None:
        self.inputs = inputs
        self.config = config
        self.space: Space = {}
        machine = None
        if config.trials:
            self.space = search_space(config.space, inputs.recipe)
            largest_batch = self._largest("train.batch_size")
            refuse_larger_batch(largest_batch, len(inputs.train))  # here, not in the middle of the search
            epochs = min(config.epochs, inputs.recipe.train.epochs)
            refuse_longer_average(self._largest("train.ema"), epochs, largest_batch, len(inputs.train))
            machine = made_on(inputs.recipe.train)
        monitor = inputs.recipe.train.monitor
        self.lineage = {
            "digest": inputs.digest(tune=dataclasses.asdict(config), made_on=machine),
            "data": inputs.data,
            "model": inputs.choices["model"],
            "run": inputs.run_name,
            "made_on": machine,
            "objective": f"1 - {monitor}" if monitor in SCORES else monitor,
        }
        continued = dataclasses.replace(config, trials=min(config.trials, 1), workers=1, confirm=Confirm())
        self.state_key = inputs.digest(tune=dataclasses.asdict(continued), made_on=machine)

    def _largest(self, key: str) -> Any:
        searched: Any = self.space.get(key)
        if searched is None:
            return self.inputs.recipe.value(key)
        return max(getattr(searched, "choices", ()) or (searched.high,))

    def run(self, folder: Path, listener: Listener) -> dict[str, Any]:
        """Search, or not: the content of reports/tune.json. A study whose journal is in `folder` is continued."""
        own = {key: self.inputs.recipe.value(key) for key in self.space}
        trials: list[FrozenTrial] = []
        best, values, confirmed = None, {}, None
        if self.config.trials:
            objective = ShortTraining(self.inputs, self.config.epochs)
            trials = search(objective, self.space, own, self.config, folder, listener)[: self.config.trials]
            found = best_trials(trials)[0]
            best, values = {"trial": trials.index(found), "value": found.value}, found.params
            if self.config.confirm.seeds:
                confirmed = confirm(objective, trials, own, self.config, self.inputs.recipe.train.seed, folder)
                values = trials[confirmed["trial"]].params if confirmed["overrules"] else own
        return {
            **self.lineage,
            "best": best,
            "confirmed": confirmed,
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
    """An objective: the cost, by `train.monitor`, of the epoch that a training with the trial's values keeps.

    It lasts `epochs` epochs. Each epoch's cost is reported to the trial, which may end the training; one that diverges
    counts as pruned.
    """

    inputs: Inputs
    epochs: int

    def __call__(self, trial: BaseTrial, values: Mapping[str, Any]) -> float:
        """Train and score; a hopeless trial raises optuna.TrialPruned."""

        monitor = self.inputs.recipe.train.monitor

        def report(trainer: pl.Trainer, _: pl.LightningModule) -> None:
            reached = cost(monitor, float(trainer.callback_metrics[monitor]))
            if math.isfinite(reached):  # the median of the other trials must stay a number
                trial.report(reached, trainer.current_epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        short = {**values, "train.epochs": self.epochs, "train.patience": 0}
        new = self.inputs.with_recipe(self.inputs.recipe.with_values(short))
        pruning = [LambdaCallback(on_validation_end=report)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                fitted = fit(new.spec, new.recipe, new.train, new.val, Path(folder), callbacks=pruning, verbose=False)
            except Diverged as error:
                raise optuna.TrialPruned from error
        return cost(monitor, fitted.history[fitted.best_epoch][monitor])


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
        with _processes(config.workers) as run:
            list(run(partial(_worker, folder / JOURNAL, objective, space), [config] * config.workers))
    trials = _trials(study, *ENDED)
    if not any(t.state == TrialState.COMPLETE for t in trials):
        raise UserError("tune: no trial was completed; raise conf/tune's prune_after or look at the errors above.")
    return trials


def best_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials, that with the lowest cost first; of equals the earlier."""
    return sorted((t for t in trials if t.state == TrialState.COMPLETE), key=attrgetter("value"))


def confirm(
    objective: Objective,
    trials: Sequence[FrozenTrial],
    own: dict[str, Any],
    config: TuneConfig,
    seed: int,
    folder: Path,
) -> dict[str, Any]:
    """Train the best trials and the configuration's `own` values again, with the same further seeds, and compare.

    Each training that ended is in the study's journal in `folder`, and is not repeated after a kill.

    Returns:
        what `compare` does, the seeds, which come from the trainings' own `seed`, and each row's losses with them (None
        where one diverged).
    """
    study = _open(folder / JOURNAL, config)
    seeds = [derived_seed(seed, n) for n in range(1, config.confirm.seeds + 1)]
    chosen = [trial for trial in best_trials(trials)[: config.confirm.best] if trial.params != own]
    first = next((trial.value for trial in trials if trial.params == own), None)
    wanted = [[{**values, "train.seed": s} for s in seeds] for values in (own, *(trial.params for trial in chosen))]
    missing = [values for row in wanted for values in row if _key(values) not in study.user_attrs]
    with _processes(config.workers) as run:
        for values, loss in zip(missing, run(partial(_loss, objective), missing), strict=True):
            study.set_user_attr(_key(values), loss)
    done = study.user_attrs
    rows = [[done[_key(values)] for values in row] for row in wanted]
    numbers = [trials.index(trial) for trial in chosen]
    before = [first, *(trial.value for trial in chosen)]
    table = np.array([[earlier, *row] for earlier, row in zip(before, rows, strict=True)], dtype=float)
    names = ["configuration", *(f"trial {number}" for number in numbers)]
    return {**compare(table, numbers), "seeds": seeds, "losses": dict(zip(names, rows, strict=True))}


def compare(losses: np.ndarray, trials: Sequence[int]) -> dict[str, Any]:
    """Whether the best of some trials overrules the configuration: by more than twice the standard error of its gain.

    Args:
        losses: `(1 + trials, 1 + seeds)` float; in row 0 the configuration's, in column 0 those of the search, which
            chose the trials and so say nothing of a gain, but how far one row's losses lie apart. NaN: diverged.
        trials: the number of each further row.

    Returns:
        `trial`, the number of the best; `gain`, by how much its mean loss is lower than the configuration's, and
        `spread`, the standard error of that, both None where one of the two diverged; `overrules`; `says`, a sentence.
    """
    if not trials:
        says = "No trial had a lower objective than the configuration's own values, which stay."
        return {"trial": None, "gain": None, "spread": None, "overrules": False, "says": says}
    means = losses[:, 1:].mean(axis=1)
    means[np.isnan(means)] = np.inf
    best = 1 + int(means[1:].argmin())
    within = np.ma.masked_invalid(losses)
    freedom = int((within.count(axis=1) - 1).clip(0).sum())
    variance = float(((within - within.mean(axis=1, keepdims=True)) ** 2).sum()) / max(freedom, 1)
    seeds = losses.shape[1] - 1
    spread = math.sqrt(2 * variance / seeds)
    overrules = bool(means[best] + 2 * spread < means[0])
    found: dict[str, Any] = {"trial": trials[best - 1], "gain": None, "spread": None, "overrules": overrules}
    trial, further = f"trial {found['trial']}", f"{seeds} further seed{'s' if seeds > 1 else ''}"
    if not np.isfinite(means[[0, best]]).all():
        diverged = "the configuration's own values diverge" if overrules else "the best trials diverge"
        says = f"With {further} {diverged}"
    else:
        found |= {"gain": float(means[0] - means[best]), "spread": spread}
        than = f"{abs(found['gain']):.3f} {'lower' if found['gain'] > 0 else 'higher'} than the configuration's"
        says = f"With {further} the objective of {trial} is {than} (standard error {spread:.3f})"
    ends = f"{trial} overrules the configuration" if overrules else "the configuration's own values stay"
    return {**found, "says": f"{says}: {ends}."}


def _key(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _loss(objective: Objective, values: dict[str, Any]) -> float | None:
    try:
        return objective(FixedTrial(values), values)  # such a trial is never pruned
    except optuna.TrialPruned:
        return None


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
            seed=derived_seed(config.seed, ended), n_startup_trials=config.startup_trials, multivariate=True
        )
        trial = study.ask(space)
        try:
            done = study.tell(trial, objective(trial, dict(trial.params)))
        except optuna.TrialPruned:
            done = study.tell(trial, state=TrialState.PRUNED)
        listener.trial(trial_row(ended, done))


@contextmanager
def _processes(number: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """The `map` of so many processes, which finish in an order that nobody can repeat; of one: of this process."""
    if number == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(number, context, initializer=_start_process, initargs=(number,)) as pool:
            yield pool.map
    except BrokenProcessPool as error:
        raise UserError("tune: a worker was killed (out of memory?); use fewer workers in conf/tune.") from error


def _start_process(number: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // number, 1))


def _worker(journal: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
    _work(_open(journal, config), objective, space, config, Listener())


def _end_with_parent() -> None:
    """A killed search takes its workers along: they would write beside those of the next one."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
