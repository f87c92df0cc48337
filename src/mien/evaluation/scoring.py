"""Evaluation of a model on its test set.

model, _ = load_model(Path("build/train"))
evaluation = evaluate_model(model, open_faces(Path("build/crop")), val, test, EvaluateConfig())
evaluation.whole.intervals.overall["accuracy"]
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge

from mien.base.classes import class_names
from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed
from mien.evaluation.calibration import Temperature, fit_temperature
from mien.evaluation.checks import Floats, Ints, checked_logits
from mien.evaluation.intervals import UNKNOWN, Intervals, bootstrap, photo_clusters
from mien.evaluation.measures import (
    CLASS_MEASURES,
    MEASURES,
    ClassScores,
    ConfusedPair,
    majority,
    measure,
    most_confused,
    scores_per_class,
)
from mien.evaluation.slices import Slices, slice_accuracy
from mien.models.weights import predict_logits
from mien.runtime.session import softmax

if TYPE_CHECKING:
    from torch import nn

    from mien.crop.packed import PackedFaces


@dataclass(frozen=True)
class EvaluateConfig:
    """How a model is measured on the test set."""

    __pydantic_config__ = STRICT

    bootstrap: Annotated[int, Ge(100)] = 1000  # resamples of photos for the 95 % intervals
    bins: Annotated[int, Ge(2)] = 15  # of the expected calibration error
    seed: Seed = 42
    batch_size: AtLeastOne = 256
    confused_pairs: Count = 5  # pairs of classes shown with their faces
    faces_per_pair: AtLeastOne = 8


@dataclass(frozen=True)
class Part:
    """The measures on the test set or on a part of it: `faces` in `photos`, and the most frequent class."""

    faces: int
    photos: int
    majority: str
    majority_share: float
    intervals: Intervals
    scores: dict[str, ClassScores]


@dataclass(frozen=True)
class Evaluation:
    """What a model does on N test faces.

    `index` is the test set's (N rows), `uncalibrated` and `probabilities` (N, classes) float64 the model's
    answers without and with the temperature. `leak_free` holds the faces without a copy in training, and
    is None where no face leaked.
    """

    config: EvaluateConfig
    index: pd.DataFrame
    uncalibrated: Floats
    probabilities: Floats
    temperature: Temperature
    whole: Part
    before: dict[str, float]
    leak_free: Part | None
    slices: Slices
    confused: tuple[ConfusedPair, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities' columns."""
        return class_names(self.probabilities.shape[1])

    @property
    def labels(self) -> Ints:
        """True classes, (N,) int64."""
        return self.index["label"].to_numpy().astype(np.int64)

    @property
    def predicted(self) -> Ints:
        """Predicted classes, (N,) int64."""
        predicted: Ints = self.probabilities.argmax(axis=1).astype(np.int64)
        return predicted


def evaluate_model(
    model: "nn.Module",
    packed: "PackedFaces",
    val: pd.DataFrame,
    test: pd.DataFrame,
    config: EvaluateConfig,
) -> Evaluation:
    """Run the model on the validation and test faces of `packed` and measure it.

    `val` and `test` are indexes as `split` writes them. Raises UserError where one is empty and where the
    model gives logits that are not finite.
    """
    for name, part in (("validation", val), ("test", test)):
        if part.empty:
            raise UserError(f"the {name} set is empty: nothing can be measured; check the shares in conf/split")
    logits = [predict_logits(model, packed.pixels[np.asarray(part["row"])], config.batch_size) for part in (val, test)]
    return evaluate_logits(logits[0], val["label"], logits[1], test, config)


def evaluate_logits(
    val_logits: npt.ArrayLike,
    val_labels: npt.ArrayLike,
    test_logits: npt.ArrayLike,
    test: pd.DataFrame,
    config: EvaluateConfig,
) -> Evaluation:
    """Fit the temperature on validation logits (M, classes) and measure the test logits (N, classes)."""
    return measure_logits(fit_temperature(val_logits, val_labels), test_logits, test, config)


def measure_logits(
    temperature: Temperature, test_logits: npt.ArrayLike, test: pd.DataFrame, config: EvaluateConfig
) -> Evaluation:
    """Measure test logits (N, classes) at a temperature that is known already."""
    logits = checked_logits(test_logits, len(test))
    index = test.reset_index(drop=True)
    labels = index["label"].to_numpy().astype(np.int64)
    uncalibrated, probabilities = softmax(logits), softmax(logits, temperature.value)
    before = measure(labels, uncalibrated, config.bins)
    clean = ~index["leaked"].to_numpy(dtype=bool)
    return Evaluation(
        config=config,
        index=index,
        uncalibrated=uncalibrated,
        probabilities=probabilities,
        temperature=temperature,
        whole=_part(index, probabilities, config),
        before={name: before[name] for name in ("nll", "brier", "ece")},
        leak_free=None if clean.all() else _part(index[clean], probabilities[clean], config),
        slices=slice_accuracy(index, probabilities.argmax(axis=1), n=config.bootstrap, seed=config.seed),
        confused=most_confused(labels, probabilities, pairs=config.confused_pairs, faces=config.faces_per_pair),
    )


def _part(index: pd.DataFrame, probabilities: Floats, config: EvaluateConfig) -> Part:
    classes = probabilities.shape[1]
    if index.empty:
        return _nothing(class_names(classes))
    labels, clusters = index["label"].to_numpy(), photo_clusters(index)
    intervals = bootstrap(labels, probabilities, clusters, n=config.bootstrap, seed=config.seed, bins=config.bins)
    scores = scores_per_class(labels, probabilities.argmax(axis=1), classes)
    return Part(len(index), int(clusters.max()) + 1, *majority(labels, classes), intervals, scores)


def _nothing(classes: tuple[str, ...]) -> Part:
    """The leak-free part of a test set of which every face leaked."""
    nan = float("nan")
    per_class = {name: dict.fromkeys(CLASS_MEASURES, UNKNOWN) for name in classes}
    intervals = Intervals(dict.fromkeys(MEASURES, UNKNOWN), per_class)
    return Part(0, 0, "", nan, intervals, {name: ClassScores(nan, nan, nan, 0) for name in classes})
