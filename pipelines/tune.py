"""Stage tune: search learning rate, dropout and the like with Optuna; with `tune=none` hand on the config's own.

python -m pipelines tune data=sample model=resnet16 augment=standard optim=adamw train=short tune=quick
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.state import digest, kept_state
from mien.training.inputs import BEST, Inputs, read_inputs
from pipelines.compose import Config

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def run(config: Config, listener: Listener) -> None:
    """Search (or not) and write best.yaml, reports/tune.json and the plots."""
    from mien.tracking.publish import publish

    inputs = read_inputs(config)
    identity = inputs.identity(config, tune=dataclasses.asdict(config.tune), made_on=_made_on(config))
    trials = _search(config, inputs, identity) if config.tune.trials else []
    summary = _summary(config, inputs, identity, trials)
    with Outs("tune") as outs:
        _write_best(summary, outs.path(BEST.as_posix()))
        outs.path("reports/tune.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        plots = outs.folder("reports/tune")
        if trials:
            from mien.reporting.figures import draw_search

            draw_search(trials, plots)
    if trials:
        publish(Path.cwd(), "search")


def _made_on(config: Config) -> dict[str, str] | None:
    """Device and precision of the trials, which decide with the values; None where nothing is trained."""
    from mien.training.hardware import choose_hardware

    return choose_hardware(config.train).made_on if config.tune.trials else None


def _search(config: Config, inputs: Inputs, identity: str) -> "list[FrozenTrial]":
    from mien.search.space import search_space
    from mien.search.study import ShortTraining, search
    from mien.training.dataset import refuse_larger_batch

    space = search_space(config.tune.space, inputs.recipe)
    sizes, batch_size = config.tune.space.get("train.batch_size", {}), inputs.recipe.train.batch_size
    largest = max(batch_size, *sizes.get("choices", ()), sizes.get("high", 0))
    refuse_larger_batch(largest, inputs.train)  # not in the middle of the search
    own = {key: inputs.recipe.value(key) for key in space}
    objective = ShortTraining(inputs.spec, inputs.recipe, inputs.train, inputs.val, config.tune.epochs)
    # More trials continue the study, so their number is no part of the state's key.
    continued = dataclasses.asdict(dataclasses.replace(config.tune, trials=1, workers=1))
    key = digest(inputs.identity(config, tune=continued, made_on=_made_on(config)))
    with kept_state("tune", key, {"identity": identity, "choices": config.choices}) as folder:
        trials = search(objective, space, own, config.tune, folder)
    return trials[: config.tune.trials]


def _summary(config: Config, inputs: Inputs, identity: str, trials: "list[FrozenTrial]") -> dict[str, Any]:
    """What tune found, for people, for train and for the tracking store."""
    from mien.search.study import best_trial

    best = best_trial(trials) if trials else None
    values = dict(best.params) if best else {}
    overruled = {
        key: {"config": inputs.recipe.value(key), "search": value}
        for key, value in sorted(values.items())
        if value != inputs.recipe.value(key)
    }
    return {
        "digest": identity,
        "data": config.data.name,
        "model": config.choices["model"],
        "run": inputs.run_name(config),
        "made_on": _made_on(config),
        "objective": "val_loss",
        "best": {"trial": trials.index(best), "value": best.value} if best else None,
        "values": values,
        "overruled": overruled,
        "trials": [_trial(i, trial) for i, trial in enumerate(trials)],
    }


def _trial(number: int, trial: "FrozenTrial") -> dict[str, Any]:
    """A trial by its place among the ended ones: Optuna's own numbers count killed ones too."""
    return {
        "number": number,
        "state": trial.state.name,
        "params": trial.params,
        "value": trial.value,
        "history": [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
    }


def _write_best(summary: dict[str, Any], path: Path) -> None:
    import yaml

    best = {key: summary[key] for key in ("digest", "made_on", "values", "overruled")} | {
        "trials": len(summary["trials"])
    }
    path.write_text(yaml.safe_dump(best, sort_keys=True), encoding="utf-8")
