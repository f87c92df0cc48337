"""Evaluation of a model on its test set.

evaluation = evaluate_model(model, open_faces(Path("build/crop")), val, test, EvaluateConfig())
evaluation.whole.intervals.overall["accuracy"].text()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge

from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed
from mien.crop.packed import PackedFaces
from mien.evaluation import measures
from mien.evaluation.intervals import DIGITS, NAN, OVERALL, Interval, Intervals, bootstrap
from mien.evaluation.measures import ConfusedPair, Floats, Ints, Reliability, Temperature
from mien.evaluation.slices import BY, Slices, slice_accuracy
from mien.runtime.session import Model, softmax


@dataclass(frozen=True)
class EvaluateConfig:
    """How a model is measured on the test set."""

    __pydantic_config__ = STRICT

    bootstrap: Annotated[int, Ge(100)] = 1000  # resamples of groups for 95 % intervals of all but shares
    bins: Annotated[int, Ge(2)] = 15  # of the expected calibration error
    seed: Seed = 42  # of the resamples
    batch_size: AtLeastOne = 256  # faces at a time
    threads: AtLeastOne = 2  # of onnxruntime, on the CPU
    confused_pairs: Count = 5  # pairs of classes shown with their faces
    faces_per_pair: AtLeastOne = 8  # faces shown for each pair


@dataclass(frozen=True)
class Part:
    """The measures on the test set or on a part of it, and the most frequent class; `support` counts by class."""

    faces: int
    photos: int
    majority: str
    majority_share: float
    intervals: Intervals
    support: dict[str, int]


@dataclass(frozen=True)
class Predictions:
    """A model's answers to N faces, one row each, as `predictions.csv` holds them.

    Columns: face_id, image, label, predicted, correct, leaked, group, face_size, confidence (the detector's), and
    the calibrated probability `p_CLASS` of each class, rounded to six digits; `by COLUMN` of each configured slice.
    """

    table: pd.DataFrame

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities' columns."""
        return tuple(str(column)[2:] for column in self.table if str(column).startswith("p_"))

    @property
    def labels(self) -> Ints:
        """True classes, (N,) int64."""
        return self.table["label"].map(self.classes.index).to_numpy(dtype=np.int64)

    @property
    def predicted(self) -> Ints:
        """Predicted classes, (N,) int64."""
        return self.table["predicted"].map(self.classes.index).to_numpy(dtype=np.int64)

    @property
    def probabilities(self) -> Floats:
        """Calibrated probabilities, (N, classes) float64; each row of rounded numbers adds up to 1 again."""
        given = self.table[[f"p_{name}" for name in self.classes]].to_numpy(dtype=np.float64)
        return np.asarray(given / given.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Evaluation:
    """What a model does on its test faces: all that the report shows."""

    predictions: Predictions
    resamples: int
    temperature: Temperature
    whole: Part
    leak_free: Part | None  # on the faces without a copy in training; None where no face leaked
    before: dict[str, float]  # NLL, Brier score and ECE without the temperature
    reliability: dict[str, Reliability]  # the diagram's bins "before" and "after" the temperature
    slices: Slices
    confused: tuple[ConfusedPair, ...]  # whose rows are those of `predictions`


def evaluate_model(
    model: Model, packed: PackedFaces, val: pd.DataFrame, test: pd.DataFrame, config: EvaluateConfig
) -> Evaluation:
    """Run the graph on the faces of `packed` that `val` and `test` name, fit its temperature and measure it.

    A UserError where one of them is empty, or the model gives logits that are not finite.
    """
    for name, part in (("validation", val), ("test", test)):
        if part.empty:
            raise UserError(f"the {name} set is empty: nothing can be measured; check the shares in conf/split")
    logits = []
    for part in (val, test):  # from a memory map, of which few faces are read at a time
        batches = np.split(part["row"].to_numpy(), range(config.batch_size, len(part), config.batch_size))
        answers = [model.logits(packed.pixels[batch], config.batch_size) for batch in batches]
        logits.append(np.concatenate(answers))
    return measure_logits(measures.fit_temperature(logits[0], val["label"]), logits[1], test, packed.classes, config)


def measure_logits(
    temperature: Temperature,
    test_logits: npt.ArrayLike,
    test: pd.DataFrame,
    classes: Sequence[str],
    config: EvaluateConfig,
) -> Evaluation:
    """Measure test logits (N, classes) at a temperature; `test` is the index of the faces, `classes` are the names."""
    labels, logits = measures.checked_logits(test["label"], test_logits)
    index = test.reset_index(drop=True)
    probabilities = softmax(logits, temperature.value)
    answers = {"before": softmax(logits), "after": probabilities}
    before = measures.measure(labels, answers["before"], config.bins)
    clean = ~index["leaked"].to_numpy(dtype=bool)
    return Evaluation(
        predictions=_predictions(index, labels, probabilities, classes),
        resamples=config.bootstrap,
        temperature=temperature,
        whole=_part(index, probabilities, classes, config),
        leak_free=None if clean.all() else _part(index[clean], probabilities[clean], classes, config),
        before={name: before[name] for name in ("nll", "brier", "ece")},
        reliability={when: measures.reliability(labels, given, config.bins) for when, given in answers.items()},
        slices=slice_accuracy(index, probabilities.argmax(axis=1), classes),
        confused=measures.top_confusions(
            labels, probabilities, classes, pairs=config.confused_pairs, faces=config.faces_per_pair
        ),
    )


def _predictions(index: pd.DataFrame, labels: Ints, probabilities: Floats, classes: Sequence[str]) -> Predictions:
    names, predicted = np.array(classes), probabilities.argmax(axis=1)
    columns = {
        **{name: index[name] for name in ("face_id", "image")},
        "label": names[labels],
        "predicted": names[predicted],
        "correct": labels == predicted,
        **{name: index[name] for name in ("leaked", "group", "face_size", "confidence")},
        **{f"p_{name}": probabilities[:, k].round(DIGITS) for k, name in enumerate(classes)},
        **{name: index[name] for name in map(str, index) if name.startswith(BY)},
    }
    return Predictions(pd.DataFrame(columns))


def _part(index: pd.DataFrame, probabilities: Floats, names: Sequence[str], config: EvaluateConfig) -> Part:
    labels = index["label"].to_numpy()
    support = dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))
    if index.empty:  # every test face leaked
        per_class = {name: dict.fromkeys(measures.CLASS_MEASURES, Interval(NAN)) for name in names}
        return Part(0, 0, "", NAN, Intervals(dict.fromkeys(OVERALL, Interval(NAN)), per_class), support)
    majority = max(names, key=lambda name: support[name])
    how = {"n": config.bootstrap, "seed": config.seed, "bins": config.bins}
    intervals = bootstrap(labels, probabilities, index["group"].to_numpy(), classes=names, **how)
    photos = index["photo_digest"].nunique()
    return Part(len(index), photos, majority, support[majority] / len(index), intervals, support)
