"""Likely wrong labels, found by cross-validated training.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 2021. A face is
suspected where a network that never saw it is surer of another class than it usually is where that class is right; how
many are suspected of each pair of classes follows from the estimated joint distribution of given and true labels.
"""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.records import read_record
from mien.base.state import code_digest, digest, resumable_state
from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.intervals import DIGITS
from mien.evaluation.measures import checked_labels, checked_probabilities
from mien.models.description import ModelSpec
from mien.models.weights import predict_logits
from mien.runtime.session import softmax
from mien.training.dataset import LabelledFaces
from mien.training.fit import fit
from mien.training.loss import soft_labels
from mien.training.recipe import Recipe

CODE: Final = ("models", "training", "evaluation/label_noise.py")  # folds of other code are not continued

CHOOSING: Final = 7  # one in so many of the faces that are learnt from chooses the epoch instead
SEED: Final = 0
USED: Final = ["row", "face_id", "image", "label", "votes", "group"]
REMEDY: Final = "`dvc repro split` writes it again"

FoldDone = Callable[[int, bool], None]  # a fold's number, and whether a killed run had finished it


@dataclass(frozen=True)
class LabelNoise:
    """All faces of train and validation, the most suspicious label first, as `rank_labels` gives them.

    `accuracy` is the share of faces that the networks of the folds answer as labelled.
    """

    ranked: pd.DataFrame
    packed: PackedFaces
    accuracy: float

    @property
    def suspects(self) -> pd.DataFrame:
        """The faces whose labels confident learning holds for wrong."""
        return self.ranked[self.ranked["suspect"]]


def find_label_noise(
    root: Path, recipe: Recipe, folds: int, fold_done: FoldDone, write: Callable[[LabelNoise], None]
) -> LabelNoise:
    """Train the folds on the faces of train and validation below `root/build`, and rank the labels.

    Folds that a killed run finished with the same settings, faces and code are not trained again; they go when `write`
    has written what was found.

    Raises:
        UserError: crop or split have not run, cleanlab is missing, or the faces are too few.
    """
    require_cleanlab()
    faces, split = read_training_faces(root / "build")
    settings = dataclasses.asdict(recipe)
    key = digest(settings, split, folds, code_digest(*CODE))
    with resumable_state("labels", key, {"recipe": settings, "folds": folds}, root) as state:
        probabilities = out_of_fold(faces, recipe, folds, state, fold_done)
        ranked = rank_labels(faces.table, probabilities, faces.packed.classes)
        found = LabelNoise(ranked, faces.packed, float((probabilities.argmax(axis=1) == faces.labels).mean()))
        write(found)
    return found


def require_cleanlab() -> None:
    """Raise a UserError where cleanlab is not installed, before hours of training."""
    if find_spec("cleanlab") is None:
        raise UserError(
            "`mien labels` needs cleanlab, which is not installed: "
            "`pip install -c constraints.txt '.[noise]'` brings it."
        )


@dataclass(frozen=True)
class TrainingFaces:
    """Packed faces, and those of train and validation: row, face_id, image, label, votes, group, part."""

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
        votes = soft_labels(some["votes"].tolist(), labels, len(self.packed.classes))
        return LabelledFaces(self.packed.pixels, some["row"].to_numpy(), labels, votes)


def read_training_faces(build: Path) -> tuple[TrainingFaces, str]:
    """The faces of train and validation below `build/`, and the split's digest; the test part stays closed.

    Raises:
        UserError: crop or split have not run, or do not belong together.
    """
    packed = open_faces(build / "crop")
    split = read_record(build / "split/split.json", {"digest": str, "data_digest": str}, REMEDY)
    if split["data_digest"] != packed.digest:
        raise UserError(f"{build / 'split'} was made from other faces than {build / 'crop'} holds; {REMEDY}.")
    parts = [
        pd.read_parquet(build / f"split/{part}.parquet", columns=USED).assign(part=part) for part in ("train", "val")
    ]
    return TrainingFaces(packed, pd.concat(parts, ignore_index=True)), str(split["digest"])


def out_of_fold(faces: TrainingFaces, recipe: Recipe, folds: int, state: Path, fold_done: FoldDone) -> np.ndarray:
    """Probabilities (N, classes) float64 of each face, from the network of the fold that left its group out.

    A fold that is done stands in `state` as fold-K.npy, and its training continues there after a kill.

    Args:
        faces: all that are learnt from.
        recipe: how each network is trained.
        folds: how many networks.
        state: a folder that outlives a kill, for this very work alone.
        fold_done: called as each fold is done.

    Raises:
        UserError: there are fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # 1 s, for this command alone

    groups = faces.table["group"].nunique()
    if groups < max(folds, 2 * CHOOSING):
        raise UserError(f"{groups} photos and duplicates apart are too few to judge labels in {folds} folds.")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    answers = np.full((len(faces.table), len(faces.packed.classes)), np.nan)
    for number, (rest, held) in enumerate(splitter.split(faces.table, faces.labels, faces.table["group"])):
        file = state / f"fold-{number}.npy"
        done_before = file.is_file()
        if not done_before:
            with replacing(file) as partial:
                np.save(partial, _train_fold(faces, recipe, rest, held, state / f"fold-{number}"))
        answers[held] = np.load(file)
        fold_done(number, done_before)
    return answers


def _train_fold(faces: TrainingFaces, recipe: Recipe, rest: np.ndarray, held: np.ndarray, folder: Path) -> np.ndarray:
    """Probabilities of the faces `held`, from a network that learnt from the `rest`."""
    from sklearn.model_selection import StratifiedGroupKFold

    inner = StratifiedGroupKFold(CHOOSING, shuffle=True, random_state=SEED)
    learn, choose = next(inner.split(rest, faces.labels[rest], faces.table["group"].iloc[rest]))
    spec = ModelSpec(dataclasses.asdict(recipe.model), faces.packed.cut, faces.packed.classes)
    folder.mkdir(exist_ok=True)
    fitted = fit(spec, recipe, faces.at(rest[learn]), faces.at(rest[choose]), folder, verbose=False)
    shutil.rmtree(folder)
    return softmax(predict_logits(fitted.model, faces.packed.pixels[faces.table["row"].to_numpy()[held]]))


def rank_labels(table: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Every face with what speaks against its label, the most suspicious first.

    Args:
        table: row, face_id, image, part and label of N faces.
        probabilities: (N, classes), out of fold.
        classes: their names.

    Returns:
        face_id, image, part, label, suggested, p_label, p_suggested, quality, suspect, and `row`, the face's row in the
        packed faces. `suggested` is the most probable other class, `quality` the normalized margin of the given label
        from 0 (surely wrong) to 1, `suspect` whether confident learning takes the label for wrong. Suspects stand
        first.

    Raises:
        UserError: all faces have one class.
    """
    labels = checked_labels(table["label"], len(classes))
    given = checked_probabilities(probabilities, len(labels))
    suspect, quality = _confident_learning(labels, given)
    rows, names = np.arange(len(labels)), np.array(classes)
    others = given.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    ranked = pd.DataFrame(
        {
            **{name: table[name].to_numpy() for name in ("face_id", "image", "part")},
            "label": names[labels],
            "suggested": names[suggested],
            "p_label": given[rows, labels].round(DIGITS),
            "p_suggested": given[rows, suggested].round(DIGITS),
            "quality": quality.round(DIGITS),
            "suspect": suspect,
            "row": table["row"].to_numpy(),
        }
    )
    return ranked.sort_values(["suspect", "quality"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _confident_learning(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which labels are suspected, (N,) bool, and their quality, (N,) float64; classes without a face take no part."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    present, numbers = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        raise UserError("all faces have one and the same label: there is nothing to take it for.")
    among = probabilities[:, present]
    among = among / among.sum(axis=1, keepdims=True)
    suspect = find_label_issues(numbers, among, filter_by="prune_by_noise_rate", n_jobs=1)
    quality = get_label_quality_scores(numbers, among, method="normalized_margin")
    return np.asarray(suspect, dtype=bool), np.asarray(quality, dtype=np.float64)
