"""Out-of-fold probabilities: every face answered by a network that never saw it, its photo or its duplicates."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from mien.errors import UserError
from mien.faces.packed import PackedFaces
from mien.models.inference import predict_logits
from mien.models.probabilities import softmax
from mien.models.spec import ModelSpec
from mien.training.faces import LabelledFaces, soft_labels
from mien.training.fit import fit
from mien.training.recipe import Recipe

CHOOSING: Final = 7  # one in so many of the faces that are learnt from chooses the epoch instead
SEED: Final = 0
CUT: Final = ("size", "colour", "margin", "square", "apply_exif_rotation")

Told = Callable[[int, bool], None]  # a fold's number, and whether it was kept from before


@dataclass(frozen=True)
class Judged:
    """Faces whose labels are to be judged: the packed ones, and a table of some, with row, label, votes and group."""

    packed: PackedFaces
    table: pd.DataFrame

    @property
    def labels(self) -> np.ndarray:
        """Given classes, (N,) int64."""
        return self.table["label"].to_numpy().astype(np.int64)

    def at(self, places: np.ndarray) -> LabelledFaces:
        """Some of the faces, for training."""
        some = self.table.iloc[places]
        labels = some["label"].to_numpy().astype(np.int64)
        votes = soft_labels(some["votes"].tolist(), labels, len(self.packed.spec["classes"]))
        return LabelledFaces(self.packed.pixels, some["row"].to_numpy(), labels, votes)


def out_of_fold(judged: Judged, recipe: Recipe, folds: int, state: Path, told: Told) -> np.ndarray:
    """Probabilities (N, classes) float64 of each face, from the network of the fold that left its group out.

    A fold that is done stands in `state` as fold-K.npy, and its training continues there after a kill.

    Args:
        judged: the faces.
        recipe: how each network is trained.
        folds: how many networks.
        state: a folder that outlives a kill, for this very work alone.
        told: called as each fold is done.

    Raises:
        UserError: there are fewer groups than folds.
    """
    places = _folds(judged, folds)
    answers = np.full((len(judged.table), len(judged.packed.spec["classes"])), np.nan)
    for number, (rest, held) in enumerate(places):
        file = state / f"fold-{number}.npy"
        kept = file.is_file()
        if not kept:
            _keep(file, _answers(judged, recipe, rest, held, state / f"fold-{number}"))
        answers[held] = np.load(file)
        told(number, kept)
    return answers


def _folds(judged: Judged, folds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    groups = judged.table["group"].nunique()
    if groups < max(folds, 2 * CHOOSING):
        raise UserError(f"{groups} photos and duplicates apart are too few to judge labels in {folds} folds.")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    return list(splitter.split(judged.table, judged.labels, judged.table["group"]))


def _answers(judged: Judged, recipe: Recipe, rest: np.ndarray, held: np.ndarray, folder: Path) -> np.ndarray:
    inner = StratifiedGroupKFold(CHOOSING, shuffle=True, random_state=SEED)
    learn, choose = next(inner.split(rest, judged.labels[rest], judged.table["group"].iloc[rest]))
    cut = {key: judged.packed.spec[key] for key in CUT}
    spec = ModelSpec(dataclasses.asdict(recipe.model), classes=tuple(judged.packed.spec["classes"]), **cut)
    folder.mkdir(exist_ok=True)
    fitted = fit(spec, recipe, judged.at(rest[learn]), judged.at(rest[choose]), folder, verbose=False)
    shutil.rmtree(folder)
    return softmax(predict_logits(fitted.model, judged.packed.pixels[judged.table["row"].to_numpy()[held]]))


def _keep(file: Path, answers: np.ndarray) -> None:
    """Whole or not there."""
    waiting = file.with_suffix(".partial.npy")
    np.save(waiting, answers)
    waiting.replace(file)
