"""From the outs of crop and split to a page of suspicious labels."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.faces.packed import open_faces
from mien.labels.folds import Judged, Told, out_of_fold
from mien.labels.kept import kept_folds
from mien.labels.page import render_labels
from mien.labels.suspects import COLUMNS, rank_labels, require_cleanlab
from mien.records import read_record
from mien.training.recipe import Recipe

PAGE: Final = "labels.html"
TABLE: Final = "labels.csv"
ANEW: Final = "`dvc repro split` writes it anew"
USED: Final = ["row", "face_id", "image", "label", "votes", "group"]


@dataclass(frozen=True)
class Verdict:
    """The ranked faces, and the share that the networks of the folds answer as labelled."""

    ranked: pd.DataFrame
    accuracy: float


def read_judged(build: Path) -> tuple[Judged, str]:
    """The faces of train and validation below `build/`, and the split's digest; the test part stays closed.

    Raises:
        UserError: crop or split have not run, or do not belong together.
    """
    packed = open_faces(build / "crop")
    split = read_record(build / "split/split.json", {"digest": str, "data_digest": str}, ANEW)
    if split["data_digest"] != packed.spec["digest"]:
        raise UserError(f"{build / 'split'} was made from other faces than {build / 'crop'} holds; {ANEW}.")
    parts = [
        pd.read_parquet(build / f"split/{part}.parquet", columns=USED).assign(part=part) for part in ("train", "val")
    ]
    return Judged(packed, pd.concat(parts, ignore_index=True)), str(split["digest"])


def judge_labels(root: Path, recipe: Recipe, folds: int, told: Told, out: Path, names: Mapping[str, str]) -> Verdict:
    """Train the folds, rank the labels, and write labels.html and labels.csv into `out`.

    Folds that a killed run finished with the same settings, faces and code are not trained again. `names` has `title`
    (of the data set) and `model`, for the page.

    Raises:
        UserError: crop or split have not run, cleanlab is missing, or the faces are too few.
    """
    require_cleanlab()
    judged, split = read_judged(root / "build")
    classes = tuple(judged.packed.spec["classes"])
    with kept_folds(root, [dataclasses.asdict(recipe), split, folds]) as state:
        probabilities = out_of_fold(judged, recipe, folds, state, told)
        ranked = rank_labels(judged.table, probabilities, classes)
        ranked["row"] = judged.table["row"].to_numpy()[ranked["place"]]
        accuracy = float((probabilities.argmax(axis=1) == judged.labels).mean())
        about: dict[str, Any] = {
            **names,
            "folds": folds,
            "epochs": recipe.train.epochs,
            "accuracy": accuracy,
            "faces": len(ranked),
        }
        _write(out, ranked, judged.packed.pixels, classes, about)
    return Verdict(ranked, accuracy)


def _write(
    out: Path, ranked: pd.DataFrame, pixels: np.ndarray, classes: tuple[str, ...], about: dict[str, Any]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        PAGE: render_labels(ranked, pixels, classes, about),
        TABLE: ranked[list(COLUMNS)].to_csv(index=False),
    }
    for name, text in texts.items():
        waiting = out / f".{name}.partial"
        waiting.write_text(text, encoding="utf-8")
        waiting.replace(out / name)
