"""Tuning: the configured hyperparameter search, whose trials are short trainings."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
from optuna.distributions import distribution_to_json
from optuna.trial import BaseTrial, FrozenTrial
from pytorch_lightning.callbacks import LambdaCallback

from mien.base.listener import Listener
from mien.search.space import Confirm, Space, TuneConfig, search_space
from mien.search.study import best_trials, confirm, search, trial_row
from mien.training.dataset import refuse_larger_batch, refuse_longer_average
from mien.training.fit import Diverged, fit
from mien.training.hardware import choose_hardware
from mien.training.inputs import Inputs
from mien.training.recipe import SCORES, cost


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
        made_on = None
        if config.trials:
            self.space = search_space(config.space, inputs.recipe)
            largest_batch = self._largest("train.batch_size")
            refuse_larger_batch(largest_batch, inputs.train)  # here, not in the middle of the search
            refuse_longer_average(self._largest("train.ema"), config.epochs, largest_batch, inputs.train)
            made_on = choose_hardware(inputs.recipe.train).made_on
        monitor = inputs.recipe.train.monitor
        self.lineage = {
            "digest": inputs.digest(tune=dataclasses.asdict(config), made_on=made_on),
            "data": inputs.data,
            "model": inputs.choices["model"],
            "run": inputs.run_name,
            "made_on": made_on,
            "objective": f"1 - {monitor}" if monitor in SCORES else monitor,
        }
        continued = dataclasses.replace(config, trials=min(config.trials, 1), workers=1, confirm=Confirm())
        self.state_key = inputs.digest(tune=dataclasses.asdict(continued), made_on=made_on)

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
