"""Optuna study with any number of workers: trials that can be killed, resumed and repeated.

Each trial has a place, from 0, which seeds its sampler; the one that repeats a killed trial has its place. A journal in
the state folder has one owner, who repeats at once what a dead one left RUNNING: with one worker, a search that was
killed and continued ends as an undisturbed one. Of a shared storage, mien.search.storage says what repeats a trial.
"""

import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from typing import Any, Final

import optuna
import torch
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from mien.base.errors import UserError
from mien.base.listener import Listener, progress_bar
from mien.search import storage
from mien.search.space import Space, TuneConfig
from mien.search.storage import (
    ENDED,
    PLACE,
    STORAGE,
    VALUES,
    Home,
    count_before,
    open_storage,
    repeat,
    storage_errors,
    trials_of,
)
from mien.training.recipe import derived_seed

SPEED: Final = "images_per_second"  # a user attribute; of the moment, so no part of the report
ABOUT: Final = "mien.about"  # a user attribute of the study: what its workers agree on

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
    objective: Objective, space: Space, own: dict[str, Any], config: TuneConfig, home: Home, listener: Listener
) -> list[FrozenTrial]:
    """The ended trials (complete or pruned) of the study at `home`, run until `config.trials` or `config.minutes`.

    A study found there is continued; the first trial has the config's `own` values. `objective` must be a function of
    the values alone; `listener.trial` is called after each trial of any worker. A UserError where the storage cannot
    be used, a worker was killed, or no trial was completed.
    """
    study = open_study(home, config)
    for trial in [] if home.shared else trials_of(study, TrialState.RUNNING):
        repeat(study, trial)
        study.tell(trial.number, state=TrialState.FAIL)
    if not trials_of(study, *ENDED, TrialState.RUNNING, TrialState.WAITING):
        study.enqueue_trial(own, user_attrs={PLACE: 0, VALUES: own})
    study.set_user_attr(ABOUT, dict(home.about))
    trials = _work_here(study, objective, space, config, home, listener)
    if not best_trials(trials):
        # The pruner stops no trial before one is complete.
        raise UserError("tune: no trial was completed: every loss diverged; lower optim.lr and its range in conf/tune.")
    return trials


def join(objective: Objective, space: Space, config: TuneConfig, home: Home) -> None:
    """Work for a search that another machine began until it is complete; a UserError where it is another, or none."""
    if not (home.shared and config.trials):
        raise UserError(f"there is no search to join: set {STORAGE}, and choose a search with `tune` in params.yaml.")
    with storage_errors(home):
        studies = optuna.get_all_study_summaries(open_storage(home))
    begun = [study.user_attrs[ABOUT] for study in studies if ABOUT in study.user_attrs]
    if not begun:
        raise UserError(f"no search has begun in {home}; `dvc repro` on one machine begins it.")
    keys = [[key for key in home.about | about if about.get(key) != home.about.get(key)] for about in begun]
    nearest, differing = min(zip(begun, keys, strict=True), key=lambda pair: len(pair[1]))
    if differing:
        said = "; ".join(f"{key} is {nearest.get(key)} there and {home.about.get(key)} here" for key in differing)
        raise UserError(f"the search in {home} is not the one of this checkout and machine: {said}.")
    _work_here(open_study(home, config), objective, space, config, home, Listener())


def best_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The complete trials, that with the lowest cost first; of equals the earlier."""
    return sorted((t for t in trials if t.state == TrialState.COMPLETE), key=attrgetter("value"))


def open_study(home: Home, config: TuneConfig) -> optuna.Study:
    """The study at `home`, made where there is none; a UserError where its storage cannot be used."""
    pruner = optuna.pruners.MedianPruner(min(config.startup_trials, 4), config.prune_after)
    how: dict[str, Any] = {"sampler": _ByPlace(config), "pruner": pruner, "load_if_exists": True}
    with storage_errors(home):
        return optuna.create_study(storage=open_storage(home), study_name=home.name, **how)


class _ByPlace(optuna.samplers.TPESampler):
    """Made again for each trial, with a seed of its place."""

    def __init__(self, config: TuneConfig) -> None:
        super().__init__()
        self._config = config

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        seed = derived_seed(self._config.seed, trial.user_attrs.get(PLACE, count_before(study, trial.number)))
        super().__init__(seed=seed, n_startup_trials=self._config.startup_trials, multivariate=True)


def _work_here(
    study: optuna.Study, objective: Objective, space: Space, config: TuneConfig, home: Home, listener: Listener
) -> list[FrozenTrial]:
    """Let this machine's workers work until the study is complete: its ended trials, by their places."""
    try:
        with _telling(study, config, listener), processes(config.workers) as run:
            list(run(partial(_work, home, objective, space), [config] * config.workers))
        return sorted(trials_of(study, *ENDED), key=lambda trial: trial.user_attrs[PLACE])
    except StorageInternalError as error:
        raise UserError(f"tune: {home} failed ({storage.reason(error)}); the same command continues.") from error


def _work(home: Home, objective: Objective, space: Space, config: TuneConfig) -> None:
    """Trial after trial, as one of any number of workers."""
    study, known = open_study(home, config), set[int]()
    failed: BaseException | None = None

    def run(trial: optuna.Trial) -> float:
        nonlocal failed
        if (before := count_before(study, trial.number)) >= config.trials:
            return math.nan  # two workers began the last trial at once: Optuna fails the later one
        try:
            trial.set_user_attr(PLACE, trial.user_attrs.get(PLACE, before))
            values = {key: trial._suggest(key, distribution) for key, distribution in space.items()}
            trial.set_user_attr(VALUES, values)
            return objective(trial, values)
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            failed = None if isinstance(error, StorageInternalError) else error
            lost = study.get_trials(deepcopy=False)[trial.number]
            if lost.state == TrialState.RUNNING:  # else another worker, who took this one for dead, repeats it
                repeat(study, lost)
            raise

    while True:
        trials = trials_of(study, *ENDED, TrialState.RUNNING)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        spent = sum(trial.duration.total_seconds() for trial in trials if trial.duration)
        late = 0 < 60 * config.minutes * config.workers <= spent and best_trials(trials)
        if len(trials) < config.trials and not late:
            try:
                study.optimize(run, n_trials=1)
            except Exception as error:  # a database broke off, or others took the trial over, as its heartbeats failed
                if failed or not home.shared:
                    raise failed or error from None
                print(f"tune: repeating a trial ({storage.reason(error)})", file=sys.stderr, flush=True)
                time.sleep(storage.PAUSE)
        elif running:
            fail_stale_trials(study)
            for trial in running:  # one that was killed before its first heartbeat would never be stale
                if trial.number not in known and isinstance(study._storage, BaseHeartbeat):
                    study._storage.record_heartbeat(trial._trial_id)
                    known.add(trial.number)
            time.sleep(storage.PAUSE)
        else:
            return


@contextmanager
def _telling(study: optuna.Study, config: TuneConfig, listener: Listener) -> Iterator[None]:
    """Tell people and the listener, every few seconds and at the end, of the trials that have ended anywhere."""
    known, over = {trial.number for trial in trials_of(study, *ENDED)}, threading.Event()

    def tell() -> None:
        ended = trials_of(study, *ENDED)
        for trial in [trial for trial in ended if trial.number not in known]:
            known.add(trial.number)
            short = {key: f"{value:.3g}" if isinstance(value, float) else value for key, value in trial.params.items()}
            words = [f"{key.rpartition('.')[2]} {value}" for key, value in sorted(short.items())]
            words.append("pruned" if trial.state == TrialState.PRUNED else f"objective {trial.value:.4f}")
            print(f"trial {len(known):3d}/{config.trials}", *words, sep="  ", file=sys.stderr, flush=True)
            speed = {SPEED: trial.user_attrs[SPEED]} if SPEED in trial.user_attrs else {}
            listener.trial(trial_row(trial.user_attrs[PLACE], trial) | speed)
        best, pruned = best_trials(ended)[:1], sum(trial.state == TrialState.PRUNED for trial in ended)
        says = f"best {best[0].value:.4f} (trial {best[0].user_attrs[PLACE] + 1})" if best else "none complete"
        step(len(ended), f"{says}, {pruned} pruned")

    def watch() -> None:
        while not over.wait(storage.PAUSE):
            with suppress(StorageInternalError):
                tell()

    with progress_bar("tune", config.trials) as step:
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        tell()


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
