"""Search stage: hyperparameters by Optuna; with `tune=none` the values of the configuration.

python -m pipelines tune data=sample model=resnet16 augment=standard optim=adamw train=short trainer=single tune=quick
"""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from mien.base.files import Outs
from mien.base.listener import Listener, following
from mien.base.state import resumable_state
from mien.search.tuning import Search
from mien.training.inputs import BEST, read_inputs
from mien.training.recipe import Recipe
from pipelines.compose import Config


def run(config: Config, listener: Listener) -> None:
    """Search (or not), and write best.yaml and reports/tune.json."""
    recipe = Recipe(config.model, config.augment, config.optim, config.train, config.trainer)
    search = Search(read_inputs(config.data.name, recipe, config.choices, parents=config.parents), config.tune)
    with ExitStack() as during:
        state = Path()
        if config.tune.trials:
            about = {"identity": search.lineage["digest"], "choices": config.choices}
            state = during.enter_context(resumable_state("tune", search.state_key, about))
            during.enter_context(following(listener, search.lineage))
        _write(search.run(state, listener))


def _write(report: dict[str, Any]) -> None:
    best = {key: report[key] for key in ("digest", "made_on", "values", "overruled", "stopped")}
    best |= {"trials": len(report["trials"]), "confirmed": (report["confirmed"] or {"says": ""})["says"]}
    with Outs("tune") as outs:
        outs.path(BEST.as_posix()).write_text(yaml.safe_dump(best, sort_keys=True), encoding="utf-8")
        outs.path("reports/tune.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
