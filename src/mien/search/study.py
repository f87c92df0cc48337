"""Optuna study in a journal: trials that can be killed, resumed and repeated.

Facts behind it: a seeded sampler that is created again repeats its trials, so each trial gets a sampler seeded
by how many have ended; the journal has no heartbeat, so trials that a killed process left RUNNING are failed and their
values are tried again. With one worker a search that was killed and continued ends as an undisturbed one.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from mien.base.errors import UserError
from mien.base.listener import Listener, progress_bar
from mien.search.space import Space, TuneConfig
from mien.training.recipe import derived_seed

JOURNAL: Final = "journal.log"
SPEED: Final = "images_per_second"  # a user attribute; of the moment, so no part of the report
QUEUED: Final = "mien.values"  # a user attribute: the values with which a trial was enqueued
ENDED: Final = (TrialState.COMPLETE, TrialState.PRUNED)

# Trains with the trial's values, reports each epoch to the trial (which may prune), returns its cost.
Objective = Callable[[BaseTrial, dict[str, Any]], float]


def trial_row(number: int, trial: FrozenTrial) -> dict[str, Any]:
    """A trial as a row; its number is its place among the ended ones, as Optuna's own count killed ones too."""
    return {
        "number": number,
        "state": trial.state.name,
        "params": trial.params,
        "value": trial.value,
        "history": [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
    }


def search(
    objective: Objective, space: Space, own: dict[str, Any], config: TuneConfig, folder: Path, listener: Listener
) -> list[FrozenTrial]:
    """The ended trials (complete or pruned) of the study in `folder`, run until `config.trials` or `config.minutes`.

    A study found there is continued; the first trial has the config's `own` values. `objective` must be a function of
    the values alone; `listener.trial` is called after each trial, unless there are several workers. A UserError where
    the journal cannot be read, a worker was killed, or no trial was completed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _cut_torn_line(folder / JOURNAL)
    study = open_study(folder / JOURNAL, config)
    _fill_queue(study, space, own)
    if config.workers == 1:
        _work(folder / JOURNAL, objective, space, listener, config)
    else:
        with processes(config.workers) as run:
            list(run(partial(_work, folder / JOURNAL, objective, space, None), [config] * config.workers))
    trials = _trials(study, *ENDED)
    if not any(t.state == TrialState.COMPLETE for t in trials):
        # The pruner stops no trial before one is complete.
        raise UserError("tune: no trial was completed: every loss diverged; lower optim.lr and its range in conf/tune.")
    return trials


def best_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials, that with the lowest cost first; of equals the earlier."""
    return sorted((t for t in trials if t.state == TrialState.COMPLETE), key=attrgetter("value"))


def open_study(journal: Path, config: TuneConfig) -> optuna.Study:
    """The study of a journal, made where there is none; a UserError where the journal cannot be read."""
    # A lock older than 3 seconds is a dead process's: no write to the journal takes that long.
    backend = JournalFileBackend(str(journal), JournalFileOpenLock(str(journal), grace_period=3))
    pruner = optuna.pruners.MedianPruner(min(config.startup_trials, 4), config.prune_after)
    try:
        storage = JournalStorage(backend)
        return optuna.create_study(storage=storage, pruner=pruner, study_name="mien", load_if_exists=True)
    except (ValueError, KeyError) as error:
        raise UserError(f"the study's journal {journal} is damaged ({error}); delete it to search anew.") from error


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

    A kill in between changes nothing. Of a trial that was killed while its values were drawn, all are drawn again.
    """
    queued = [trial.user_attrs[QUEUED] for trial in _trials(study, TrialState.WAITING)]
    for trial in _trials(study, TrialState.RUNNING):
        values = trial.user_attrs.get(QUEUED, trial.params)
        if set(values) == set(space) and values not in queued:
            study.enqueue_trial(values, user_attrs={QUEUED: values})
        study.tell(trial.number, state=TrialState.FAIL)
    if not _trials(study, *ENDED, TrialState.WAITING):
        study.enqueue_trial(own, user_attrs={QUEUED: own})


def _work(journal: Path, objective: Objective, space: Space, listener: Listener | None, config: TuneConfig) -> None:
    """Trial after trial, as the only worker, which has the listener, or as one of several."""
    study = open_study(journal, config)
    with progress_bar("tune", config.trials, shown=listener is not None) as step:
        step(len(_trials(study, *ENDED)), "")
        while (ended := len(trials := _trials(study, *ENDED))) < config.trials:
            spent = sum(trial.duration.total_seconds() for trial in trials if trial.duration)
            if 0 < 60 * config.minutes * config.workers <= spent and best_trials(trials):
                break
            study.sampler = optuna.samplers.TPESampler(
                seed=derived_seed(config.seed, ended), n_startup_trials=config.startup_trials, multivariate=True
            )
            trial = study.ask(space)
            try:
                done = study.tell(trial, objective(trial, dict(trial.params)))
            except optuna.TrialPruned:
                done = study.tell(trial, state=TrialState.PRUNED)
            trials = _trials(study, *ENDED)
            short = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in done.params.items()}
            words = [f"{key.rpartition('.')[2]} {value}" for key, value in sorted(short.items())]
            words.append("pruned" if done.value is None else f"objective {done.value:.4f}")
            print(f"trial {len(trials):3d}/{config.trials}", *words, sep="  ", file=sys.stderr, flush=True)
            step(len(trials), _reached(trials))
            if listener is not None:
                speed = {SPEED: done.user_attrs[SPEED]} if SPEED in done.user_attrs else {}
                listener.trial(trial_row(ended, done) | speed)


def _reached(ended: Sequence[FrozenTrial]) -> str:
    best, pruned = best_trials(ended)[:1], sum(trial.state == TrialState.PRUNED for trial in ended)
    words = f"best {best[0].value:.4f} (trial {ended.index(best[0]) + 1})" if best else "none complete"
    return f"{words}, {pruned} pruned"


@contextmanager
def processes(number: int) -> Iterator[Callable[..., Iterator[Any]]]:
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
    """A killed search takes its workers along: they would write beside those of the next one."""
    parent: Any = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    torch.set_num_threads(max(torch.get_num_threads() // number, 1))
