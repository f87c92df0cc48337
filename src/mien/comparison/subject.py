"""One side of a comparison: what a run was, what it scored, and what it answered on its test faces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.evaluation.bootstrap import Interval
from mien.evaluation.checks import Floats, Ints
from mien.expressions import EXPRESSIONS, class_names

COLUMNS: Final = (
    "face_id",
    "image",
    "label",
    "predicted",
    "leaked",
    "group",
    *(f"p_{name}" for name in EXPRESSIONS),
)  # at least
NAN: Final = float("nan")


@dataclass(frozen=True)
class Subject:
    """A run, wherever it was read from.

    `params` and `metrics` have the names that MLflow shows (`optim.lr`, `test/accuracy`), `epochs` the rows of
    history.csv as (epoch, values), and `predictions` the rows of predictions.csv.
    """

    key: str  # the run's id, or the folder
    name: str
    source: str  # where it was read from: a run's id, a version, a folder
    data: str
    facts: Mapping[str, str]  # digests, commit, precision, versions
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    epochs: Sequence[tuple[int, Mapping[str, float]]]
    predictions: pd.DataFrame

    @property
    def classes(self) -> tuple[str, ...]:
        """The expressions that it tells apart, in their order."""
        return class_names(sum(str(column).startswith("p_") for column in self.predictions))

    @property
    def probabilities(self) -> Floats:
        """Calibrated probabilities, (N, classes) float64; each row of rounded numbers adds up to 1 again."""
        given = self.predictions[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)
        normed: Floats = given / given.sum(axis=1, keepdims=True)
        return normed

    @property
    def labels(self) -> Ints:
        """True classes, (N,) int64."""
        return self.predictions["label"].map(self.classes.index).to_numpy(dtype=np.int64)

    def measure(self, name: str) -> Interval:
        """A measure of the test set as it was tracked, with its interval; NaN for what was not."""
        ends = (self.metrics.get(f"test/interval/{name}_{end}", NAN) for end in ("low", "high"))
        return Interval(self.metrics.get(f"test/{name}", NAN), *ends)


def read_predictions(file: Path, of: str) -> pd.DataFrame:
    """The rows of a predictions.csv.

    Raises:
        UserError: it lacks a column, or holds no face.
    """
    table: pd.DataFrame = pd.read_csv(file, dtype={"face_id": str, "image": str})
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"predictions.csv of {of} lacks the column {missing[0]}; `dvc repro evaluate` writes it anew.")
    if table.empty:
        raise UserError(f"predictions.csv of {of} holds no face; `dvc repro evaluate` writes it anew.")
    return table


def plain_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them: words."""
    return {key: str(value) for key, value in params.items()}
