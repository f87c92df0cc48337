"""What two faults of the reference systems do to the number that is reported, measured on one small network each.

    python -m benchmarks.faults_demo training-folder [--preset folder-cnn] [--epochs 10]
    python -m benchmarks.faults_demo row-split [--preset expw-cnn48] [--repeats 5]

`training-folder`: the epoch is chosen, and the accuracy reported, on the faces that the network learns from; beside
it the same training with the data set's own validation part. Both networks meet the official test set.

`row-split`: rows are shuffled and cut, so that faces of one photo and near copies stand on both sides; beside it the
split by groups, of the same sizes. Each repeat draws both splits anew, with its own seed.

Run it where the stages up to `split` have run on the preset's data: it takes build/crop, and build/split for the first.
Intervals are of the test faces alone, by resampling photos: another training of the same network differs as well.
"""

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import yaml

from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.intervals import Interval, bootstrap, photo_clusters
from mien.models.spec import ModelSpec
from mien.models.weights import predict_logits
from mien.runtime.session import softmax
from mien.split.parts import SplitConfig, split_faces
from mien.training.dataset import LabelledFaces
from mien.training.fit import Fitted, fit
from mien.training.recipe import Recipe
from pipelines.compose import CONF, compose

BUILD: Final = Path("build")
PARTS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class Measured:
    """Faces with what a network said of them: `probabilities` (N, classes) belong to the rows of `table`."""

    table: pd.DataFrame
    probabilities: np.ndarray

    def of(self, rows: np.ndarray) -> "Measured":
        """The faces where `rows` (N,) bool is true."""
        return Measured(self.table[rows].reset_index(drop=True), self.probabilities[rows])

    def accuracy(self) -> Interval:
        """With its 95 % interval."""
        clusters = photo_clusters(self.table)
        return bootstrap(self.table["label"].to_numpy(), self.probabilities, clusters).overall["accuracy"]


def preset_recipe(preset: str, epochs: int | None) -> Recipe:
    """Network, augmentation, optimizer and training of a preset, with other epochs if asked."""
    chosen = yaml.safe_load((CONF / "preset" / f"{preset}.yaml").read_text(encoding="utf-8"))
    groups = ("data", "model", "augment", "optim", "train")
    config = compose("train", [f"{group}={chosen[group]}" for group in groups])
    recipe = Recipe(config.model, config.augment, config.optim, config.train)
    return recipe.with_values({"train.epochs": epochs} if epochs else {})


def trained(faces: PackedFaces, recipe: Recipe, train: pd.DataFrame, val: pd.DataFrame) -> Fitted:
    """The recipe's network, trained on one table of faces, its epoch chosen on another."""
    spec = ModelSpec(dataclasses.asdict(recipe.model), faces.cut)
    learn, choose = (LabelledFaces(faces.pixels, t["row"].to_numpy(), t["label"].to_numpy()) for t in (train, val))
    with tempfile.TemporaryDirectory() as folder:
        return fit(spec, recipe, learn, choose, Path(folder), verbose=False)


def measured(faces: PackedFaces, fitted: Fitted, table: pd.DataFrame) -> Measured:
    """What a network says of the faces of a table."""
    return Measured(table, softmax(predict_logits(fitted.model, faces.pixels[table["row"].to_numpy()])))


def training_folder(recipe: Recipe) -> None:
    """Print the accuracy that each choice of the validation part reports, and what the test set says."""
    faces = open_faces(BUILD / "crop")
    parts = {name: pd.read_parquet(BUILD / f"split/{name}.parquet") for name in PARTS}
    for name, words in (("train", "its own training faces"), ("val", "the validation part")):
        fitted = trained(faces, recipe, parts["train"], parts[name])
        print(f"validated on {words}: epoch {fitted.best_epoch + 1} of {recipe.train.epochs} is kept")
        show(f"  reported, on {words}", measured(faces, fitted, parts[name]))
        show("  on the test set", measured(faces, fitted, parts["test"]))


def row_parts(table: pd.DataFrame, sizes: list[int], seed: int) -> dict[str, pd.DataFrame]:
    """Rows shuffled and cut into parts of these sizes; `leaked`: a training face has the same group."""
    shuffled = table.sample(frac=1.0, random_state=seed).reset_index(drop=True)
    cuts = np.split(np.arange(len(shuffled)), np.cumsum(sizes)[:-1])
    parts = {name: shuffled.iloc[rows].reset_index(drop=True) for name, rows in zip(PARTS, cuts, strict=True)}
    held = set(parts["train"]["group"])
    return {name: part.assign(leaked=part["group"].isin(held)) for name, part in parts.items()}


def row_split(recipe: Recipe, repeats: int) -> None:
    """Print the test accuracy of both splits, and of the row split's test faces that leaked and that did not."""
    faces = open_faces(BUILD / "crop")
    tests: dict[str, list[Measured]] = {"grouped": [], "rows": []}
    for seed in range(1, repeats + 1):
        grouped = split_faces(faces, SplitConfig(0.7, 0.15, 0.15, seed=seed)).parts
        rows = row_parts(pd.concat(grouped.values()), [len(grouped[name]) for name in PARTS], seed)
        for name, parts in (("grouped", grouped), ("rows", rows)):
            fitted = trained(faces, recipe.with_values({"train.seed": seed}), parts["train"], parts["val"])
            tests[name].append(measured(faces, fitted, parts["test"]))
            show(f"repeat {seed}, {name}, {len(parts['train']):,} faces to learn from", tests[name][-1])
    grouped_test, rows_test = (pooled(tests[name]) for name in ("grouped", "rows"))
    leaked = rows_test.table["leaked"].to_numpy()
    show("all repeats, split by groups", grouped_test)
    show("all repeats, split by rows", rows_test)
    show("  its faces that share photo or near copy with training", rows_test.of(leaked))
    show("  its other faces", rows_test.of(~leaked))


def pooled(tests: list[Measured]) -> Measured:
    """Several tests as one; a photo that stands in several of them is resampled with all its rows."""
    table = pd.concat([test.table for test in tests], ignore_index=True)
    return Measured(table, np.concatenate([test.probabilities for test in tests]))


def show(title: str, test: Measured) -> None:
    """Print one line: accuracy, interval, faces."""
    value = test.accuracy()
    print(f"{title}: {value.value:.3f} ({value.low:.3f} to {value.high:.3f}) on {len(test.table):,} faces", flush=True)


def main() -> None:
    """Measure one of the two faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    faults = parser.add_subparsers(dest="fault", required=True)
    for fault, preset in (("training-folder", "folder-cnn"), ("row-split", "expw-cnn48")):
        one = faults.add_parser(fault)
        one.add_argument("--preset", default=preset)
        one.add_argument("--epochs", type=int, help="instead of the preset's own")
    faults.choices["row-split"].add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    recipe = preset_recipe(arguments.preset, arguments.epochs)
    if arguments.fault == "training-folder":
        training_folder(recipe)
    else:
        row_split(recipe, arguments.repeats)


if __name__ == "__main__":
    main()
