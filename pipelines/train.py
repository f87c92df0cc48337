"""Training stage: the network with the values of the search.

python -m pipelines train data=sample model=resnet16 augment=standard optim=adamw train=short trainer=single
"""

import json

import numpy as np
import pandas as pd

from mien.base.files import Outs
from mien.base.listener import Listener, following
from mien.base.state import resumable_state
from mien.models.description import CONTINUED_FROM, MACHINE
from mien.models.graph import MOST_CHECKED, export_graph
from mien.models.weights import save_model
from mien.runtime.session import GRAPH_FILE
from mien.training.augmentation import augmented_examples
from mien.training.fit import Fitted, checkpoint_to_continue
from mien.training.inputs import Inputs, read_best, read_inputs, training_key, training_lineage, write_lineage
from mien.training.rank import fit_on_ranks, take_over
from mien.training.recipe import Recipe
from pipelines.compose import Config


def run(config: Config, listener: Listener) -> None:
    """Train, and write the network, its history and its lineage."""
    recipe = Recipe(config.model, config.augment, config.optim, config.train, config.trainer)
    inputs = read_inputs(config.data.name, recipe, config.choices, parents=config.parents)
    best, searched = read_best(recipe)
    tuned = inputs.with_recipe(searched)
    key, adopted = training_key(inputs, best, tuned), tuned.adopted()
    # The state is taken first: a process that is refused it must not end the run of the one that holds it.
    with resumable_state("train", key, {"run": inputs.run_name, **inputs.config}) as folder:
        machine = adopted["made_on"] if adopted else checkpoint_to_continue(folder, tuned.recipe.trainer)[1]
        lineage = training_lineage(inputs, best, tuned, machine)
        with following(listener, lineage):
            if adopted is None:
                fitted = fit_on_ranks(*tuned.job, folder, parents=tuned.parents, listener=listener)
            else:
                fitted = take_over(tuned.spec, adopted, listener)
            _write(tuned, lineage | {"stopped": fitted.stopped}, fitted)


def _write(inputs: Inputs, lineage: dict[str, object], fitted: Fitted) -> None:
    report: dict[str, object] = {
        **{name: value for name, value in fitted.history[fitted.best_epoch].items() if name.startswith("val_")},
        "best_epoch": fitted.best_epoch,
        "epochs": len(fitted.history),
        "used": inputs.config,
        **{key: lineage[key] for key in ("parameters", "stopped", *MACHINE, CONTINUED_FROM) if key in lineage},
    }
    with Outs("train") as outs:
        folder = outs.folder("build/train")
        save_model(fitted.model, inputs.spec, folder)
        export_graph(fitted.model, inputs.spec, folder / GRAPH_FILE, inputs.val.pixels[inputs.val.rows[:MOST_CHECKED]])
        np.save(folder / "augmented.npy", augmented_examples(inputs.train.first_faces(), inputs.recipe))
        pd.DataFrame(fitted.history).to_csv(folder / "history.csv", index=False)
        write_lineage(folder, lineage, inputs.parents)
        outs.path("reports/train.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
