"""A model's answers on the test set, and the scores that the gate compares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.evaluation.bootstrap import cluster_sums, interval, photo_clusters, resampled
from mien.evaluation.compare import paired_bootstrap
from mien.evaluation.sums import face_sums, measures
from mien.records import opened
from mien.registry.gate import Scores
from mien.registry.settings import RegisterConfig

BINS: Final = 15  # of the expected calibration error


@dataclass(frozen=True)
class TestSet:
    """The faces on which models are compared: those of the test set without a copy in training.

    `faces` is the split's index of them (row, face_id, label, photo_digest, face_digest, ...), and
    `probabilities` (N, classes) float64 are the candidate's calibrated answers in the same order.
    """

    __test__ = False  # no test case of pytest's

    faces: pd.DataFrame
    probabilities: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """True classes, (N,) int64."""
        return self.faces["label"].to_numpy().astype(np.int64)

    @property
    def clusters(self) -> np.ndarray:
        """The photo of each face, (N,) int64."""
        return photo_clusters(self.faces)


def read_test_set(split: Path, predictions: Path) -> TestSet:
    """The test set of a split and the candidate's answers of `reports/predictions.csv`.

    Raises:
        UserError: the two do not belong together, or every test face has a copy in training.
    """
    faces = opened(split / "test.parquet", pd.read_parquet, "`dvc repro split` writes it anew")
    kinds = {"face_id": str, "image": str, "group": str}
    answers = opened(predictions, lambda file: pd.read_csv(file, dtype=kinds), "`dvc repro evaluate` writes it anew")
    if set(faces["face_id"].astype(str)) != set(answers["face_id"]) or len(faces) != len(answers):
        raise UserError(f"{predictions} and {split / 'test.parquet'} name other faces; `dvc repro evaluate` mends it.")
    faces = faces[~faces["leaked"].astype(bool)].reset_index(drop=True)
    if faces.empty:
        raise UserError("every test face has a copy in training, so no model can be judged: choose another split.")
    ordered = answers.set_index("face_id").reindex(faces["face_id"].astype(str))
    given = ordered[[column for column in ordered.columns if column.startswith("p_")]]
    return TestSet(faces, normalised(given.to_numpy(dtype=np.float64)))


def normalised(probabilities: np.ndarray) -> np.ndarray:
    """Rows that were rounded in a file, made to add up to 1 again."""
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def score(test: TestSet, probabilities: np.ndarray, settings: RegisterConfig) -> Scores:
    """Scores of a model with intervals at level 1 - 2 alpha, by resampling photos."""
    sums = cluster_sums(face_sums(test.labels, probabilities, BINS), test.clusters)
    whole = measures(sums.sum(axis=0, keepdims=True), BINS)
    drawn = measures(resampled(sums, settings.bootstrap if len(sums) > 1 else 0, settings.seed), BINS)

    def bounds(name: str) -> Any:
        level = 1 - 2 * settings.alpha
        return interval(float(whole[name][0]), drawn[name], level=level, unbias=name == "ece")

    return Scores(
        n=len(test.faces),
        photos=len(sums),
        majority_share=float(np.bincount(test.labels).max() / len(test.labels)),
        accuracy=bounds("accuracy"),
        unweighted_average_recall=bounds("unweighted_average_recall"),
        ece=bounds("ece"),
    )


def difference(test: TestSet, champion: np.ndarray, settings: RegisterConfig) -> dict[str, Any]:
    """Candidate minus champion on the same faces, at level 1 - 2 alpha."""
    return paired_bootstrap(
        test.labels,
        champion,
        test.probabilities,
        test.clusters,
        n=settings.bootstrap,
        seed=settings.seed,
        bins=BINS,
        level=1 - 2 * settings.alpha,
    )
