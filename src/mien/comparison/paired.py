"""Two models on the same faces: paired differences, McNemar's table, and the faces on which they disagree."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from mien.comparison.subject import Subject
from mien.evaluation.bootstrap import Interval
from mien.evaluation.checks import Floats
from mien.evaluation.compare import paired_bootstrap, paired_recalls

MEASURES: Final = ("accuracy", "macro_f1", "unweighted_average_recall", "ece", "nll", "brier")
LOWER_IS_BETTER: Final = ("ece", "nll", "brier")
RESAMPLES: Final = 2000


@dataclass(frozen=True)
class McNemar:
    """Faces by who is right, and the exact two-sided p-value of McNemar's test (1947).

    It takes the faces as independent, which those of one photo are not: the bootstrap does not.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float


@dataclass(frozen=True)
class Paired:
    """Differences b - a on the `faces` faces of `groups` groups of photos that leaked into neither training.

    `disagreements` has a row per face with another answer: face_id, image, label, a, b (what they said), p_a, p_b
    (how sure they were), right ("a", "b" or "none"), the surest first.
    """

    faces: int
    groups: int
    left_out: int
    differences: dict[str, Interval]
    recalls: dict[str, Interval]
    mcnemar: McNemar
    disagreements: pd.DataFrame


def why_not_paired(a: Subject, b: Subject) -> str:
    """Why the two were not tested on the same faces, as a sentence; empty where they were."""
    if a.data != b.data:
        return f"A was tested on the data set {a.data} and B on {b.data}."
    if a.classes != b.classes:
        return f"A tells {len(a.classes)} expressions apart and B {len(b.classes)}."
    ids_a, ids_b = (set(one.predictions["face_id"]) for one in (a, b))
    if ids_a != ids_b:
        common = len(ids_a & ids_b)
        return f"A was tested on {len(ids_a):,} faces and B on {len(ids_b):,}, of which {common:,} are the same."
    ours, theirs = (one.predictions.set_index("face_id")[["image", "label"]].sort_index() for one in (a, b))
    other = int((ours != theirs).any(axis=1).sum())
    return f"{other:,} of the {len(ours):,} test faces have another label or photo in B than in A." if other else ""


def compare_paired(a: Subject, b: Subject, *, n: int = RESAMPLES, seed: int = 42) -> Paired | None:
    """The paired comparison of two runs; None where every test face leaked into a training.

    Resampled are groups of photos (a photo with its copies), as A's split has them. Requires the same test faces.
    """
    order = pd.Index(b.predictions["face_id"]).get_indexer(pd.Index(a.predictions["face_id"]))
    leaked = a.predictions["leaked"].to_numpy(bool) | b.predictions["leaked"].to_numpy(bool)[order]
    clean = ~leaked
    if not clean.any():
        return None
    labels, clusters = a.labels[clean], a.predictions["group"].to_numpy()[clean]
    ours, theirs = a.probabilities[clean], b.probabilities[order][clean]
    return Paired(
        faces=int(clean.sum()),
        groups=len(np.unique(clusters)),
        left_out=int(leaked.sum()),
        differences=paired_bootstrap(labels, ours, theirs, clusters, n=n, seed=seed, names=MEASURES),
        recalls=paired_recalls(labels, ours, theirs, clusters, n=n, seed=seed),
        mcnemar=mcnemar(ours.argmax(axis=1) == labels, theirs.argmax(axis=1) == labels),
        disagreements=_disagreements(a.predictions[clean], a.classes, ours, theirs),
    )


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """The table of who is right, each (N,) bool, with the exact binomial p-value; 1 where they are so together."""
    from scipy.stats import binomtest

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(int((right_a & right_b).sum()), only_a, only_b, int((~right_a & ~right_b).sum()), p)


def _disagreements(faces: pd.DataFrame, classes: tuple[str, ...], a: Floats, b: Floats) -> pd.DataFrame:
    said_a, said_b, names = a.argmax(axis=1), b.argmax(axis=1), np.array(classes)
    table = faces[["face_id", "image", "label"]].reset_index(drop=True)
    table = table.assign(a=names[said_a], b=names[said_b], p_a=a.max(axis=1), p_b=b.max(axis=1))
    table["right"] = np.select([table["a"] == table["label"], table["b"] == table["label"]], ["a", "b"], "none")
    table = table[said_a != said_b]
    surest = np.argsort(-table[["p_a", "p_b"]].to_numpy().max(axis=1), kind="stable")
    ordered: pd.DataFrame = table.iloc[surest].reset_index(drop=True)
    return ordered
