"""Stage train: train the network with the values that tune handed on.

python -m pipelines train data=sample model=resnet16 augment=standard optim=adamw train=short
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.state import digest, kept_state
from mien.training.inputs import GROUPS, Inputs, read_best, read_inputs
from pipelines.compose import Config

if TYPE_CHECKING:
    from mien.training.fit import Fitted
    from mien.training.recipe import Recipe


def run(config: Config, listener: Listener) -> None:
    """Train, and write the network, its history, its lineage and its curves."""
    from mien.tracking.publish import training_identity, training_params
    from mien.tracking.run_logger import CLOSE_WITHIN, RunLogger
    from mien.training.hardware import choose_hardware

    # First of all: its process imports MLflow while this one imports PyTorch.
    logger = RunLogger(Path.cwd(), close_within=CLOSE_WITHIN)
    inputs = read_inputs(config)
    best, recipe = read_best(inputs.recipe)
    inputs = _with_best(inputs, recipe)
    lineage = _lineage(config, inputs, best, choose_hardware(inputs.recipe.train).made_on)
    # The lineage's digest is of tune's moment; the code may have changed since without making tune stale.
    key = digest(lineage, best["values"], inputs.identity(config))
    # The state is taken first: who is refused it must not end the run of the process that holds it.
    with (
        kept_state("train", key, lineage) as folder,
        logger.run(training_identity(lineage), training_params(lineage)),
    ):
        fitted = _fit(inputs, folder, logger.metrics)
        _write(inputs, lineage, fitted)


def _with_best(inputs: Inputs, recipe: "Recipe") -> Inputs:
    spec = dataclasses.replace(inputs.spec, architecture=dataclasses.asdict(recipe.model))
    return dataclasses.replace(inputs, recipe=recipe, spec=spec)


def _fit(inputs: Inputs, folder: Path, listener: Any) -> "Fitted":
    from mien.training.fit import fit

    return fit(inputs.spec, inputs.recipe, inputs.train, inputs.val, folder, listener=listener)


def _lineage(config: Config, inputs: Inputs, best: dict[str, Any], made_on: dict[str, str]) -> dict[str, Any]:
    """Where the network comes from: everything that its numbers depend on, and nothing of the moment."""
    from mien.models.networks import trainable_parameters

    return {
        # The search's trials hang below the run of this digest, unless they were trained on something else.
        "digest": best["digest"] if best["made_on"] == made_on else digest(best["digest"], made_on),
        "run": inputs.run_name(config),
        "data": config.data.name,
        "title": config.data.title,
        "drawn": config.data.drawn,
        "model": config.choices["model"],
        "choices": config.choices,
        "config": {group: dataclasses.asdict(config.groups[group]) for group in ("data", *GROUPS)},
        "search": {"trials": best["trials"], "overruled": best["overruled"], "made_on": best["made_on"]},
        "data_digest": inputs.data_digest,
        "split_digest": inputs.split_digest,
        **made_on,
        "parameters": trainable_parameters(inputs.spec.build()),
        "faces": {"train": len(inputs.train), "val": len(inputs.val)},
    }


def _write(inputs: Inputs, lineage: dict[str, Any], fitted: "Fitted") -> None:
    import pandas as pd

    from mien.models.weights import save_model
    from mien.reporting.figures import draw_curves

    chosen = fitted.history[fitted.best_epoch]
    report = {
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "parameters": lineage["parameters"],
        "device": lineage["device"],
        "precision": lineage["precision"],
        **{name: value for name, value in chosen.items() if name.startswith("val_")},
    }
    with Outs("train") as outs:
        folder = outs.folder("build/train")
        save_model(fitted.model, inputs.spec, folder)
        pd.DataFrame(fitted.history).to_csv(folder / "history.csv", index=False)
        (folder / "lineage.json").write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
        outs.path("reports/train.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        draw_curves(fitted.history, fitted.best_epoch, outs.folder("reports/train") / "curves.png")
