"""Label noise detection by cross-validated training.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 2021. A face is
suspected where a network that never saw it is surer of another class than it usually is where that class is right; how
many are suspected of each pair of classes follows from the estimated joint distribution of given and true labels.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.state import code_digest, digest, resumable_state
from mien.crop.packed import PackedFaces
from mien.evaluation.intervals import DIGITS
from mien.models.description import ModelSpec
from mien.models.weights import predict_logits
from mien.runtime.session import softmax
from mien.training.fit import fit
from mien.training.inputs import labelled_faces, open_split, read_part
from mien.training.recipe import Recipe

CODE: Final = ("models", "training", "evaluation/label_noise.py")  # folds of other code are not continued
CHOOSING: Final = 7  # one in so many of the faces that are learnt from chooses the epoch instead
USED: Final = ["row", "face_id", "image", "label", "votes", "group"]

FoldDone = Callable[[int, bool], None]  # a fold's number, and whether a killed run had finished it


@dataclass(frozen=True)
class LabelNoise:
    """All faces of train and validation, the most suspicious label first."""

    ranked: pd.DataFrame  # as `rank_labels` gives them
    packed: PackedFaces
    accuracy: float  # share of faces that the networks of the folds answer as labelled


@contextmanager
def find_label_noise(root: Path, recipe: Recipe, folds: int, fold_done: FoldDone) -> Iterator[LabelNoise]:
    """Train the folds on the faces of train and validation below `root/build`, and rank the labels.

    Folds that a killed run finished with the same settings, faces and code are not trained again; they go when the
    block has succeeded, which writes what was found. A UserError where crop or split have not run, cleanlab is missing,
    or the faces are too few.
    """
    if find_spec("cleanlab") is None:  # before hours of training
        raise UserError("`mien labels` needs cleanlab: `pip install -c constraints.txt -e '.[noise]'` installs it.")
    for setting, address in recipe.parents:  # it may know these labels by heart
        raise UserError(
            f"{setting}: {address} may have learnt these very labels; `mien labels` needs a recipe without."
        )
    packed, split = open_split(root)
    table = read_training_faces(root)
    settings = dataclasses.asdict(recipe)
    key = digest(settings, split["digest"], folds, code_digest(*CODE))
    with resumable_state("labels", key, {"recipe": settings, "folds": folds}, root) as state:
        probabilities = _out_of_fold(packed, table, recipe, folds, state, fold_done)
        right = float((probabilities.argmax(axis=1) == table["label"]).mean())
        yield LabelNoise(rank_labels(table, probabilities, packed.classes), packed, right)


def read_training_faces(root: Path) -> pd.DataFrame:
    """The faces of train and validation: row, face_id, image, label, votes, group, part; the test part stays closed."""
    parts = (read_part(root, part, USED).assign(part=part) for part in ("train", "val"))
    return pd.concat(parts, ignore_index=True)


def _out_of_fold(
    packed: PackedFaces, table: pd.DataFrame, recipe: Recipe, folds: int, state: Path, fold_done: FoldDone
) -> np.ndarray:
    """Probabilities (N, classes) float64 of each face, from the network of the fold that left its group out.

    A fold that is done stands in `state` as fold-K.npy, and its training continues there after a kill.
    """
    groups = table["group"].nunique()
    if groups < max(folds, 2 * CHOOSING):
        raise UserError(f"{groups} groups of photos are too few to judge labels in {folds} folds.")
    spec = ModelSpec(dataclasses.asdict(recipe.model), packed.cut, packed.classes)
    answers = np.full((len(table), len(packed.classes)), np.nan)
    for number, (rest, held) in enumerate(_parts(table, folds)):
        file, folder = state / f"fold-{number}.npy", state / f"fold-{number}"
        done_before = file.is_file()
        if not done_before:
            learnt = table.iloc[rest]
            learn, choose = (labelled_faces(learnt.iloc[rows], packed) for rows in next(_parts(learnt, CHOOSING)))
            folder.mkdir(exist_ok=True)
            fitted = fit(spec, recipe, learn, choose, folder, verbose=False)
            shutil.rmtree(folder)
            with replacing(file) as partial:
                rows = table["row"].to_numpy()[held]
                np.save(partial, softmax(predict_logits(fitted.model, packed.pixels[rows])))
        answers[held] = np.load(file)
        fold_done(number, done_before)
    return answers


def _parts(table: pd.DataFrame, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions of the rest and of each fold, whole groups in one."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    yield from splitter.split(table, table["label"], table["group"])


def rank_labels(table: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Every face with what speaks against its label, suspects first, and the most suspicious of them first.

    `table` has row, face_id, image, part and label of N faces, `probabilities` are (N, classes), out of fold; a class
    without a face takes no part. Columns that are added: `suggested` is the most probable other class, `p_label` and
    `p_suggested` are the probabilities of the two, `quality` is the normalized margin of the given label from 0 (surely
    wrong) to 1, `suspect` whether confident learning takes the label for wrong. `row` is the last. Faces of a single
    class are a UserError.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    labels, names, rows = table["label"].to_numpy(), np.array(classes), np.arange(len(table))
    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise UserError("all faces have the same label: no other label can be suggested.")
    among = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    others = probabilities.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    ranked = table[["face_id", "image", "part"]].assign(
        label=names[labels],
        suggested=names[suggested],
        p_label=probabilities[rows, labels].round(DIGITS),
        p_suggested=probabilities[rows, suggested].round(DIGITS),
        quality=get_label_quality_scores(numbers, among, method="normalized_margin").round(DIGITS),
        suspect=find_label_issues(numbers, among, filter_by="prune_by_noise_rate", n_jobs=1),
        row=table["row"],
    )
    return ranked.sort_values(["suspect", "quality"], ascending=[False, True], kind="stable").reset_index(drop=True)
