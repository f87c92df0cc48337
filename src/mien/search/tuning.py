"""Tuning: what a configuration searches, what a trial trains, and whether the best trial overrules the configuration.

The lowest of many losses is low by chance too, so the best few trials are trained again with further seeds, beside the
configuration's own values, before they overrule these.
"""

import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytorch_lightning as pl
from optuna.distributions import distribution_to_json
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial
from pytorch_lightning.callbacks import LambdaCallback

from mien.base.listener import Listener, progress_bar
from mien.base.state import code_digest, digest
from mien.search.space import Confirm, Space, TuneConfig, search_space
from mien.search.storage import Home
from mien.search.study import SPEED, Objective, best_trials, join, open_study, processes, search, trial_row
from mien.training.fit import Diverged, fit
from mien.training.hardware import made_on
from mien.training.inputs import CODE, Inputs
from mien.training.recipe import SCORES, cost, derived_seed, refuse_larger_batch, refuse_longer_average


class Search:
    """The search that a configuration asks for; without trials its report says that the configured values stay.

    `lineage` says what the numbers depend on. `state_key` is the digest of the study's state: more trials, workers or
    confirmations continue it. A UserError where the space does not fit the recipe, or a batch needs too many faces.
    """

    def __init__(self, inputs: Inputs, config: TuneConfig) -> None:
        # a trial uses one device
        inputs = inputs.with_recipe(inputs.recipe.with_values({"trainer.devices": 1, "trainer.nodes": 1}))
        self.inputs = inputs
        self.config = config
        self.space: Space = {}
        machine = None
        if config.trials:
            self.space = search_space(config.space, inputs.recipe)
            largest_batch = self._largest("train.batch_size")
            refuse_larger_batch(largest_batch, len(inputs.train))  # here, not in the middle of the search
            epochs = min(config.epochs, inputs.recipe.train.epochs)
            longest = {"ema": self._largest("train.ema"), "epochs": epochs, "batch_size": largest_batch}
            refuse_longer_average(dataclasses.replace(inputs.recipe.train, **longest), len(inputs.train))
            machine = made_on(inputs.recipe.trainer)
        monitor = inputs.recipe.train.monitor
        self.lineage = {
            "digest": inputs.digest(tune=dataclasses.asdict(config), made_on=machine),
            "data": inputs.data,
            "model": inputs.choices["model"],
            "run": inputs.run_name,
            "made_on": machine,
            "objective": f"1 - {monitor}" if monitor in SCORES else monitor,
        }
        continued = dataclasses.replace(config, trials=min(config.trials, 1), workers=1, confirm=Confirm(), minutes=0)
        self.state_key = inputs.digest(tune=dataclasses.asdict(continued), made_on=machine)
        agreed = {**inputs.config, "tune": dataclasses.asdict(dataclasses.replace(config, workers=1))}
        agreed |= {"machine": machine or {}, "parent": {name: parent.digest for name, parent in inputs.parents.items()}}
        self._about = {f"{group}.{key}": value for group, values in agreed.items() for key, value in values.items()}
        self._about |= {"code": code_digest(*CODE), "data": inputs.data_digest, "split": inputs.split_digest}

    def _largest(self, key: str) -> Any:
        searched: Any = self.space.get(key)
        if searched is None:
            return self.inputs.recipe.value(key)
        return max(getattr(searched, "choices", ()) or (searched.high,))

    def join(self) -> None:
        """Work for the search that `run` began on another machine; a UserError where that would be another search."""
        objective = ShortTraining(self.inputs, self.config.epochs)
        join(objective, self.space, self.config, Home.of(Path(), self.state_key, self._about))

    def run(self, folder: Path, listener: Listener) -> dict[str, Any]:
        """Search, or not: the content of reports/tune.json. A study in MIEN_TUNE_STORAGE or `folder` is continued."""
        own = {key: self.inputs.recipe.value(key) for key in self.space}
        trials: list[FrozenTrial] = []
        best, values, confirmed = None, {}, None
        if self.config.trials:
            objective = ShortTraining(self.inputs, self.config.epochs)
            place = Home.of(folder, self.state_key, self._about)
            trials = search(objective, self.space, own, self.config, place, listener)[: self.config.trials]
            found = best_trials(trials)[0]
            best, values = {"trial": trials.index(found), "value": found.value}, found.params
            if self.config.confirm.seeds:
                confirmed = confirm(objective, trials, own, self.config, self.inputs.recipe.train.seed, place)
                values = trials[confirmed["trial"]].params if confirmed["overrules"] else own
        stopped = f"stopped by tune.minutes after trial {len(trials)} of {self.config.trials}"
        return {
            **self.lineage,
            "best": best,
            "stopped": stopped if len(trials) < self.config.trials else "",
            "confirmed": confirmed,
            "values": values,
            "overruled": {
                key: {"config": own[key], "search": value} for key, value in sorted(values.items()) if value != own[key]
            },
            "space": {key: json.loads(distribution_to_json(distribution)) for key, distribution in self.space.items()},
            "trials": [trial_row(i, trial) for i, trial in enumerate(trials)],
        }


@dataclass(frozen=True)
class ShortTraining:
    """An objective: the cost, by `train.monitor`, of the epoch that a training with the trial's values keeps.

    It lasts `epochs` epochs; each reports its cost to the trial, which may end it. One that diverges counts as pruned.
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

        class Speed(Listener):
            def epoch(self, row: Mapping[str, float]) -> None:
                trial.set_user_attr(SPEED, row[SPEED])

        short = {**values, "train.epochs": self.epochs, "train.patience": 0, "train.minutes": 0.0}
        new = self.inputs.with_recipe(self.inputs.recipe.with_values(short))
        pruning = [LambdaCallback(on_validation_end=report)]
        with tempfile.TemporaryDirectory() as folder:
            try:
                how: Any = {"parents": new.parents, "listener": Speed(), "callbacks": pruning, "verbose": False}
                fitted = fit(*new.job, Path(folder), **how)
            except Diverged as error:
                raise optuna.TrialPruned from error
        return cost(monitor, fitted.history[fitted.best_epoch][monitor])


def confirm(
    objective: Objective, trials: list[FrozenTrial], own: dict[str, Any], config: TuneConfig, seed: int, home: Home
) -> dict[str, Any]:
    """Train the best trials and the configuration's `own` values again, with the same further seeds, and compare.

    Each training that ended is in the study at `home`, and is not repeated after a kill. Returned are what `compare`
    returns, the seeds, which come from the trainings' own `seed`, and each row's losses (None: diverged).
    """
    study = open_study(home, config)
    seeds = [derived_seed(seed, n) for n in range(1, config.confirm.seeds + 1)]
    chosen = [trial for trial in best_trials(trials)[: config.confirm.best] if trial.params != own]
    first = next((trial.value for trial in trials if trial.params == own), None)
    wanted = [[{**values, "train.seed": s} for s in seeds] for values in (own, *(trial.params for trial in chosen))]
    missing = [values for row in wanted for values in row if digest(values) not in study.user_attrs]
    with processes(config.workers) as run, progress_bar("confirm", len(missing)) as step:
        for i, (values, loss) in enumerate(zip(missing, run(partial(_loss, objective), missing), strict=True)):
            study.set_user_attr(digest(values), loss)
            step(i + 1, "")
    done = study.user_attrs
    rows = [[done[digest(values)] for values in row] for row in wanted]
    numbers = [trials.index(trial) for trial in chosen]
    before = [first, *(trial.value for trial in chosen)]
    table = np.array([[earlier, *row] for earlier, row in zip(before, rows, strict=True)], dtype=float)
    names = ["configuration", *(f"trial {number}" for number in numbers)]
    return {**compare(table, numbers), "seeds": seeds, "losses": dict(zip(names, rows, strict=True))}


def compare(losses: np.ndarray, trials: Sequence[int]) -> dict[str, Any]:
    """Whether the best of some trials overrules the configuration: by more than twice the standard error of its gain.

    `losses` are `(1 + trials, 1 + seeds)` float; in row 0 the configuration's, in column 0 those of the search, which
    chose the trials and so say nothing of a gain, but how far one row's losses lie apart; NaN where one diverged.
    `trials` are the numbers of the further rows. Returned are `trial`, the number of the best; `gain`, by how much its
    mean loss is lower than the configuration's, and `spread`, the standard error of that, both None where one of the
    two diverged; `overrules`; and `says`, a sentence.
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


def _loss(objective: Objective, values: dict[str, Any]) -> float | None:
    try:
        return objective(FixedTrial(values), values)  # such a trial is never pruned
    except optuna.TrialPruned:
        return None
