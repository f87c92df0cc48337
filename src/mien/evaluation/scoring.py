"""Evaluation of a model on its test set, and on slices of it by class, face size, confidence and other columns.

evaluation = evaluate_model(model, open_faces(Path("build/crop")), val, test, EvaluateConfig())
evaluation.whole.intervals.overall["accuracy"].text()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge
from pandas.api.types import is_bool_dtype

from mien.base.classes import ALWAYS_SLICED
from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Count, Seed
from mien.crop.packed import PackedFaces
from mien.evaluation import measures
from mien.evaluation.intervals import DIGITS, OVERALL, TOO_FEW, Interval, Intervals, bootstrap, cluster_sums, proportion
from mien.evaluation.measures import Array, ConfusedPair, Floats, Ints, Reliability, Temperature
from mien.runtime.session import Model, softmax

MOST_VALUES: Final = 12  # of a column that are slices; the rarer ones are one slice together
BY: Final = "by "  # + a column of the faces table
NOT_GIVEN: Final = "not given"


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
class Slice:
    """Some of the test faces: what they share, how many in how many photos, and the accuracy on them."""

    group: str
    name: str
    faces: int
    photos: int
    accuracy: Interval  # without ends where the faces are too few

    @property
    def too_few(self) -> bool:
        """Whether the faces are too few for a statement, fewer than 20."""
        return self.faces < TOO_FEW


@dataclass(frozen=True)
class Slices:
    """All slices with a face, and for each grouping that could not be made the reason."""

    slices: tuple[Slice, ...]
    skipped: dict[str, str]


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
        per_class = {name: dict.fromkeys(measures.CLASS_MEASURES, Interval(np.nan)) for name in names}
        return Part(0, 0, "", np.nan, Intervals(dict.fromkeys(OVERALL, Interval(np.nan)), per_class), support)
    majority = max(names, key=lambda name: support[name])
    how = {"n": config.bootstrap, "seed": config.seed, "bins": config.bins}
    intervals = bootstrap(labels, probabilities, index["group"].to_numpy(), classes=names, **how)
    photos = index["photo_digest"].nunique()
    return Part(len(index), photos, majority, support[majority] / len(index), intervals, support)


def slice_accuracy(index: pd.DataFrame, predicted: npt.ArrayLike, classes: Sequence[str]) -> Slices:
    """Accuracy by class (its recall), by thirds of face size and of the detector's confidence, and by `with_slices`.

    `index` has label, face_size, confidence, photo_digest and group of N faces, `predicted` (N,) their answers.
    """
    chosen, skipped = slice_rows(index, classes)
    photos, hit = index["photo_digest"], np.asarray(predicted) == index["label"].to_numpy()
    members = np.column_stack(list(chosen.values())).astype(np.float64)
    sums = cluster_sums(np.column_stack([members, members * hit[:, None]]), index["group"].to_numpy())
    faces, hits = np.split(sums, 2, axis=1)
    slices = []
    for k, (named, rows) in enumerate(chosen.items()):
        accuracy = proportion(hits[:, k], faces[:, k]).resting_on(rows.sum())
        slices.append(Slice(*named, int(rows.sum()), photos[rows].nunique(), accuracy))
    return Slices(tuple(slices), skipped)


def with_slices(index: pd.DataFrame, faces: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The index with these columns of the faces table, which `slice_rows` knows by the name `by COLUMN`."""
    return index.join(faces.set_index("face_id")[list(columns)].add_prefix(BY), on="face_id")


def slice_rows(index: pd.DataFrame, classes: Sequence[str]) -> tuple[dict[tuple[str, str], Array], dict[str, str]]:
    """Which faces belong to each (group, name), (N,) bool, and why a group was skipped."""
    labels, (by_class, sizes, confidences) = index["label"].to_numpy(), ALWAYS_SLICED
    groups = {
        by_class: {name: labels == k for k, name in enumerate(classes) if (labels == k).any()},
        sizes: terciles(index["face_size"], ("small", "medium", "large"), " px"),
        confidences: terciles(index["confidence"], ("low", "middle", "high")),
        **{name.removeprefix(BY): _by_value(index[name]) for name in map(str, index) if name.startswith(BY)},
    }
    skipped = {}
    for group in groups:
        if not set(groups[group]) - {NOT_GIVEN}:
            skipped[group] = f"the data set gives no {group}"
        elif len(groups[group]) == 1 and group != by_class:
            skipped[group] = f"all {len(index)} faces have the same {group}"
    chosen = {(g, name): rows for g, names in groups.items() if g not in skipped for name, rows in names.items()}
    return chosen, skipped


def _by_value(column: pd.Series) -> dict[str, Array]:
    """The rows of each third of a column of numbers; of each value, most frequent first, of any other."""
    text = column.astype("string").str.strip()
    given = text.where(text != "")
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.count() == given.count() and not is_bool_dtype(column):
        return terciles(numbers.astype("float64"), ("low", "middle", "high"))
    values = given.value_counts().sort_index().sort_values(ascending=False, kind="stable").index
    rows = {value: (given == value).to_numpy(bool, na_value=False) for value in values[:MOST_VALUES]}
    if len(rest := values[MOST_VALUES:]):
        rows[f"{len(rest):,} rarer values"] = given.isin(rest).to_numpy(bool)
    return {**rows, NOT_GIVEN: given.isna().to_numpy()} if given.hasnans else rows


def terciles(values: npt.ArrayLike, names: tuple[str, str, str], unit: str = "") -> dict[str, Array]:
    """The rows, (N,) bool, of each third of the values (N,), by its name and range, and those `not given` (NaN).

    Equal values stay together, so thirds may be unequal, and fewer than three; without a value there is none.
    """
    given = np.asarray(values, dtype=np.float64)
    known = np.isfinite(given)
    if not known.any():
        return {}
    form = ".0f" if np.abs(given[known]).max() >= 10 else ".3g"
    third = np.searchsorted(np.quantile(given[known], [1 / 3, 2 / 3]), given)
    rows = {}
    for k, name in enumerate(names):
        inside = known & (third == k)
        if inside.any():
            ends = dict.fromkeys(f"{end:{form}}" for end in (given[inside].min(), given[inside].max()))
            rows[f"{name}, {'–'.join(ends)}{unit}"] = inside
    return rows if known.all() else {**rows, NOT_GIVEN: ~known}
