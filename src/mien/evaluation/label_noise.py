"""Likely wrong labels, found by cross-validated training.

C. Northcutt, L. Jiang, I. Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 2021. A face is
suspected where a network that never saw it is surer of another class than it usually is where that class is right; how
many are suspected of each pair of classes follows from the estimated joint distribution of given and true labels.
"""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from mien.base.errors import UserError
from mien.base.files import replacing
from mien.base.records import read_record
from mien.base.state import code_digest, digest, resumable_state
from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.checks import checked_labels, checked_probabilities
from mien.models.spec import ModelSpec
from mien.models.weights import predict_logits
from mien.reporting.label_page import render_labels
from mien.runtime.session import softmax
from mien.training.dataset import LabelledFaces
from mien.training.fit import fit
from mien.training.loss import soft_labels
from mien.training.recipe import Recipe

CODE: Final = ("models", "training", "evaluation/label_noise.py")  # folds of other code are not continued

CHOOSING: Final = 7  # one in so many of the faces that are learnt from chooses the epoch instead
SEED: Final = 0

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
        votes = soft_labels(some["votes"].tolist(), labels, len(self.packed.classes))
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
    answers = np.full((len(judged.table), len(judged.packed.classes)), np.nan)
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
    spec = ModelSpec(dataclasses.asdict(recipe.model), judged.packed.cut, judged.packed.classes)
    folder.mkdir(exist_ok=True)
    fitted = fit(spec, recipe, judged.at(rest[learn]), judged.at(rest[choose]), folder, verbose=False)
    shutil.rmtree(folder)
    return softmax(predict_logits(fitted.model, judged.packed.pixels[judged.table["row"].to_numpy()[held]]))


def _keep(file: Path, answers: np.ndarray) -> None:
    with replacing(file) as partial:
        np.save(partial, answers)


COLUMNS: Final = ("face_id", "image", "part", "label", "suggested", "p_label", "p_suggested", "quality", "suspect")
_DIGITS: Final = 6


def require_cleanlab() -> None:
    """Raise a UserError where cleanlab is not installed, before hours of training."""
    if find_spec("cleanlab") is None:
        raise UserError(
            "`mien labels` needs cleanlab, which is not installed: "
            "`pip install -c constraints.txt '.[noise]'` brings it."
        )


def rank_labels(table: pd.DataFrame, probabilities: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """Every face with what speaks against its label, the most suspicious first.

    Args:
        table: face_id, image, part and label of N faces.
        probabilities: (N, classes), out of fold.
        classes: their names.

    Returns:
        COLUMNS and `place`, the face's position in `table`. `suggested` is the most probable other class, `quality` the
        normalized margin of the given label from 0 (surely wrong) to 1, `suspect` whether confident learning
        holds the label for wrong. Suspects stand first.

    Raises:
        UserError: all faces have one class.
    """
    labels = checked_labels(table["label"], len(classes))
    given = checked_probabilities(probabilities, len(labels))
    suspect, quality = _confident_learning(labels, given)
    rows = np.arange(len(labels))
    others = given.copy()
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    names = np.array(classes)
    ranked = pd.DataFrame(
        {
            **{name: table[name].to_numpy() for name in ("face_id", "image", "part")},
            "label": names[labels],
            "suggested": names[suggested],
            "p_label": given[rows, labels].round(_DIGITS),
            "p_suggested": given[rows, suggested].round(_DIGITS),
            "quality": quality.round(_DIGITS),
            "suspect": suspect,
            "place": rows,
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
    if split["data_digest"] != packed.digest:
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
    classes = judged.packed.classes
    settings = dataclasses.asdict(recipe)
    key = digest(settings, split, folds, code_digest(*CODE))
    with resumable_state("labels", key, {"recipe": settings, "folds": folds}, root) as state:
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
        with replacing(out / name) as partial:
            partial.write_text(text, encoding="utf-8")
