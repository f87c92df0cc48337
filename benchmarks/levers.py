"""Levers of the compact network's recipe on FER2013: each changed alone, paired seeds, scored on PublicTest.

    python -m benchmarks.levers [--epochs 20] [--seeds 1 2] [--teacher FOLDER] [--only NAME ...]

Run it in a checkout with the preset `fer2013-compact` whose split has been made; the test part stays closed. Each
training's row goes into benchmarks/results/levers.json as it ends. Started again, it continues the training that was
killed, and leaves out those that are there. At the end it prints a table in Markdown, differences against the
unchanged recipe with the same seed.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any, Final, cast

import numpy as np
import yaml

from mien.base.files import replacing
from mien.base.state import state_folder
from mien.inference.address import find_parents
from mien.models.networks import Network
from mien.models.weights import predict_logits
from mien.training.fit import fit
from mien.training.inputs import Inputs, read_inputs
from mien.training.recipe import Recipe
from pipelines.compose import STAGE_GROUPS, compose

RESULTS: Final = Path(__file__).parent / "results" / "levers.json"
UNCHANGED: Final = "nothing"
LEVERS: Final[dict[str, dict[str, Any]]] = {
    UNCHANGED: {},
    "stem of stride 1": {"model.stem_stride": 1},
    "one block a stage": {"model.blocks": 1},
    "three blocks a stage": {"model.blocks": 3},
    "width 24": {"model.width": 24},
    "SGD Nesterov 0.1, decay 5e-4": {"optim.name": "sgd", "optim.lr": 0.1, "optim.weight_decay": 5e-4},
    "AdamW 0.002, decay 0.01": {"optim.lr": 0.002, "optim.weight_decay": 0.01},
    "no averaged weights": {"train.ema": 0.0},
    "no label smoothing": {"train.label_smoothing": 0.0},
    "label smoothing 0.1": {"train.label_smoothing": 0.1},
    "weaker augmentation": {"augment.strength": 0.5},
}
TAUGHT: Final = ((0.5, 2.0), (0.7, 2.0), (0.9, 2.0), (0.7, 4.0))  # share of the loss, temperature


def inputs_here() -> Inputs:
    """The training that params.yaml chooses."""
    choices = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    config = compose("train", [f"{group}={choices[group]}" for group in STAGE_GROUPS["train"]])
    recipe = Recipe(config.model, config.augment, config.optim, config.train, config.trainer)
    return read_inputs(config.data.name, recipe, config.choices)


def run(inputs: Inputs, values: dict[str, Any]) -> dict[str, Any]:
    """One training: its values, and the accuracy on the validation part without and with flip."""
    parents = find_parents(("train.teachers", address) for address in values.get("train.teachers", []))
    changed = inputs.with_recipe(inputs.recipe.with_values(values))
    fitted = fit(*changed.job, state_folder() / "levers" / changed.digest(), parents=parents)
    network, accuracy = cast(Network, fitted.model), []
    for network.flip in (False, True):
        answers = predict_logits(network, np.asarray(inputs.val.pixels[inputs.val.rows])).argmax(axis=1)
        accuracy.append(round(float((answers == inputs.val.labels).mean()), 4))
    return {"values": values, "accuracy": accuracy, "made_on": fitted.made_on}


def table(rows: list[dict[str, Any]], epochs: int) -> str:
    """The runs of one length as Markdown."""
    of = {(row["lever"], row["seed"]): row["accuracy"] for row in rows if row["epochs"] == epochs}
    lines = [f"| changed, {epochs} epochs | accuracy, with flip | difference (each seed) |", "|---|---|---|"]
    for lever in dict.fromkeys(lever for lever, _ in of):
        seeds = [seed for name, seed in of if name == lever and (UNCHANGED, seed) in of]
        plain, flipped = (mean(of[lever, seed][i] for seed in seeds) for i in (0, 1))
        gains = [100 * (of[lever, seed][1] - of[UNCHANGED, seed][1]) for seed in seeds]
        differences = f"{mean(gains):+.1f} ({', '.join(f'{gain:+.1f}' for gain in gains)})"
        lines.append(f"| {lever} | {plain:.3f}, {flipped:.3f} | {'' if lever == UNCHANGED else differences} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--teacher", nargs="*", default=[], help="also distil these models")
    parser.add_argument("--only", nargs="+", help="levers to measure beside the unchanged recipe")
    arguments = parser.parse_args()
    levers = LEVERS | {
        f"taught, share {share:g}, temperature {temperature:g}": {
            "train.teachers": arguments.teacher,
            "train.distill_share": share,
            "train.distill_temperature": temperature,
        }
        for share, temperature in (TAUGHT if arguments.teacher else ())
    }
    inputs = inputs_here()
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    for seed in arguments.seeds:
        for lever, values in levers.items():
            about = {"lever": lever, "seed": seed, "epochs": arguments.epochs}
            if (arguments.only and lever not in (UNCHANGED, *arguments.only)) or any(
                about.items() <= r.items() for r in rows
            ):
                continue
            print(f"levers: {lever}, seed {seed}", flush=True)
            rows.append(about | run(inputs, {**values, "train.epochs": arguments.epochs, "train.seed": seed}))
            with replacing(RESULTS) as partial:
                partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows, arguments.epochs))


if __name__ == "__main__":
    main()
