"""The search: an Optuna study that survives kills and repeats itself.

Facts behind it: a seeded sampler that is created again repeats its trials, so each trial gets a sampler seeded
by how many are finished; the journal has no heartbeat, so what a killed process left RUNNING is failed and its
values are tried again. With one worker a search that was killed and continued ends as an undisturbed one.
"""

import dataclasses
import math
import multiprocessing
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
import pytorch_lightning as pl
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from mien.base.errors import UserError
from mien.models.spec import ModelSpec
from mien.search.space import Space, TuneConfig
from mien.training.dataset import LabelledFaces
from mien.training.fit import Diverged, fit
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


JOURNAL: Final = "journal.log"
QUEUED: Final = "fixed_params"  # where Optuna keeps the values of a trial that was enqueued
ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED)

# Trains with the trial's values, reports each epoch to the trial (which may prune), returns the validation loss.
Objective = Callable[[Trial, dict[str, Any]], float]


def search(
    objective: Objective, space: Space, own: dict[str, Any], config: TuneConfig, folder: Path
) -> list[FrozenTrial]:
    """Run the study until it has `config.trials` ended trials; the first one has the config's own values.

    Args:
        objective: what a trial does; it must be a function of the values alone.
        space: what to search.
        own: the config's own values, for the first trial.
        config: how many trials, their seed, how many at once.
        folder: where the journal is kept; a study found there is continued.

    Returns:
        the ended trials (complete or pruned) in the order of their start.

    Raises:
        UserError: the journal cannot be read, or every trial failed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_torn_line(folder / JOURNAL)
    study = _open(folder / JOURNAL, config)
    _take_up_what_was_killed(study, space)
    if not _ended(study) and not _waiting(study):
        study.enqueue_trial(own)
    if config.workers == 1:
        _work(study, objective, space, config)
    else:
        _work_side_by_side(folder, objective, space, config)
    trials = _ended(study)
    if not any(t.state == TrialState.COMPLETE for t in trials):
        raise UserError("tune: no trial was completed; raise conf/tune's prune_after or look at the errors above.")
    return trials


def best_trial(trials: list[FrozenTrial]) -> FrozenTrial:
    """The complete trial with the lowest validation loss; of equals the first."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    return min(complete, key=lambda t: (t.value if t.value is not None else float("inf"), t.number))


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
            f"tune: the study's journal {journal} is damaged ({error}); delete it to search anew."
        ) from error


def _cut_torn_line(journal: Path) -> None:
    """Take away the end of a write that a full disk or a power cut broke off: what is appended to it is unreadable."""
    content = journal.read_bytes() if journal.exists() else b""
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _ended(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=ENDED)


def _waiting(study: optuna.Study) -> list[dict[str, Any]]:
    """The values of trials that stand in the queue."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return [trial.system_attrs[QUEUED] for trial in waiting]


def _take_up_what_was_killed(study: optuna.Study, space: Space) -> None:
    """Queue the values of trials that a dead process left RUNNING, then fail these; a kill in between changes nothing.

    A trial that was killed while its values were drawn has only some of them: its sampler draws all of them anew.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        values = trial.system_attrs.get(QUEUED, trial.params)
        if set(values) == set(space) and values not in _waiting(study):
            study.enqueue_trial(values)
        study.tell(trial.number, state=TrialState.FAIL)


def _work(study: optuna.Study, objective: Objective, space: dict[str, BaseDistribution], config: TuneConfig) -> None:
    while (ended := len(_ended(study))) < config.trials:
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed + ended, n_startup_trials=config.startup_trials, multivariate=True
        )
        trial = study.ask(space)
        try:
            study.tell(trial, objective(trial, dict(trial.params)))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)


def _work_side_by_side(folder: Path, objective: Objective, space: Space, config: TuneConfig) -> None:
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
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // config.workers, 1))
    _work(_open(journal, config), objective, space, config)


def _end_with_parent() -> None:
    """A killed search takes its workers along: they would write beside those of the next one."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
