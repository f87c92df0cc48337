"""One trial: a short training with the trial's values, stopped where it lags behind the others."""

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
from optuna.trial import Trial

from mien.models.spec import ModelSpec
from mien.training.faces import LabelledFaces
from mien.training.fit import fit
from mien.training.history import Diverged
from mien.training.recipe import Recipe


class Pruning(pl.Callback):
    """Reports each epoch's validation loss to the trial and ends the training where Optuna would prune."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report; a hopeless trial raises optuna.TrialPruned."""
        loss = float(trainer.callback_metrics["val_loss"])
        if math.isfinite(loss):  # the median of the others is to stay a number
            self._trial.report(loss, trainer.current_epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


@dataclass(frozen=True)
class ShortTraining:
    """An objective: the lowest validation loss of a training with the trial's values and `epochs` epochs."""

    spec: ModelSpec
    recipe: Recipe
    train: LabelledFaces
    val: LabelledFaces
    epochs: int

    def __call__(self, trial: Trial, values: Mapping[str, Any]) -> float:
        """Train and score; values with which a training diverges count as pruned."""
        recipe = self.recipe.with_values({**values, "train.epochs": self.epochs, "train.patience": 0})
        spec = dataclasses.replace(self.spec, architecture=dataclasses.asdict(recipe.model))
        with tempfile.TemporaryDirectory() as folder:
            pruning = [Pruning(trial)]
            try:
                fitted = fit(spec, recipe, self.train, self.val, Path(folder), callbacks=pruning, verbose=False)
            except Diverged as error:
                raise optuna.TrialPruned from error
        return min(row["val_loss"] for row in fitted.history)
