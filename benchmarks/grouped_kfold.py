"""What limits a data set: cross-validated accuracy by groups of photos, with all training faces and with fewer.

    python -m benchmarks.grouped_kfold [--folds 5] [--shares 0.25 0.5 1.0] [--epochs 30] [--out kfold.csv]

Run it where `dvc repro` has run: it takes build/crop, the groups of build/split (so that no photo and no duplicate
stands in two folds) and the recipe of build/train. Each fold is the test set once; a seventh of
the rest chooses the epoch.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from mien.crop.packed import open_faces
from mien.models.spec import ModelConfig, ModelSpec
from mien.models.weights import predict_logits
from mien.training.dataset import LabelledFaces
from mien.training.fit import fit
from mien.training.recipe import AugmentConfig, OptimConfig, Recipe, TrainConfig

BUILD = Path("build")


def recipe_of_training() -> Recipe:
    """The recipe of build/train, with what the search overruled."""
    lineage = json.loads((BUILD / "train/lineage.json").read_text())
    config = lineage["config"]
    recipe = Recipe(
        ModelConfig(**config["model"]),
        AugmentConfig(**config["augment"]),
        OptimConfig(**config["optim"]),
        TrainConfig(**config["train"]),
    )
    return recipe.with_values({key: value["search"] for key, value in lineage["search"]["overruled"].items()})


def fold_accuracy(faces: Any, table: pd.DataFrame, rest: np.ndarray, test: np.ndarray, recipe: Recipe) -> float:
    """Train on the rest of a fold and score the fold."""
    inner = StratifiedGroupKFold(7, shuffle=True, random_state=0)
    learn, choose = next(inner.split(rest, table["label"].iloc[rest], table["group"].iloc[rest]))
    spec = ModelSpec(dataclasses.asdict(recipe.model), faces.cut)

    def part(rows: np.ndarray) -> LabelledFaces:
        return LabelledFaces(faces.pixels, table["row"].to_numpy()[rows], table["label"].to_numpy()[rows])

    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(spec, recipe, part(rest[learn]), part(rest[choose]), Path(folder), verbose=False)
    logits = predict_logits(fitted.model, faces.pixels[table["row"].to_numpy()[test]])
    return float((logits.argmax(1) == table["label"].to_numpy()[test]).mean())


def main() -> None:
    """Print a row per share of the training faces: n, the folds' mean accuracy and their standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--epochs", type=int, help="instead of the recipe's own")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    faces, recipe = open_faces(BUILD / "crop"), recipe_of_training()
    if arguments.epochs:
        recipe = recipe.with_values({"train.epochs": arguments.epochs})
    table = pd.concat([pd.read_parquet(BUILD / f"split/{name}.parquet") for name in ("train", "val", "test")])
    outer = StratifiedGroupKFold(arguments.folds, shuffle=True, random_state=0)
    folds = list(outer.split(table, table["label"], table["group"]))
    rows = []
    for share in arguments.shares:
        for number, (rest, test) in enumerate(folds):
            kept = np.random.default_rng(number).permutation(rest)[: round(len(rest) * share)]
            accuracy = fold_accuracy(faces, table, np.sort(kept), test, recipe)
            rows.append({"share": share, "fold": number, "faces": len(kept), "accuracy": accuracy})
            print(f"{share:5.0%} of the faces, fold {number}: {len(kept):,} faces, accuracy {accuracy:.3f}", flush=True)
    result = pd.DataFrame(rows)
    if arguments.out:
        result.to_csv(arguments.out, index=False)
    print(
        result.groupby("share").agg(faces=("faces", "mean"), mean=("accuracy", "mean"), sd=("accuracy", "std")).round(3)
    )


if __name__ == "__main__":
    main()
