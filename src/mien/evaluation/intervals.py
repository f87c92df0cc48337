"""Bootstrap intervals, and paired comparison of two models.

The cluster bootstrap of Davison & Hinkley (Bootstrap Methods and their Application, 1997, section 3.8): the split's
groups (a photo with its copies, or a person) are drawn with replacement, each with all its faces, and the interval is
the middle of the measure's resamples. The middle 95 % would be too narrow where a measure rests on few groups, so it is
widened as Student's t asks: the expanded percentile interval of T. Hesterberg (What Teachers Should Know About the
Bootstrap, The American Statistician 69(4), 2015). `benchmarks/coverage.py` measures how often intervals hold the truth.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from mien.evaluation.measures import CLASS_MEASURES, MACRO, MEASURES, RECALL, Array, Floats, face_sums, measures

LEVEL: Final = 0.95
DIGITS: Final = 6  # in files, so that the last bit of another machine is no change
NAN: Final = float("nan")
TOO_FEW: Final = 20  # faces below which nothing is said of a class or slice
# What `bootstrap` gives beside MEASURES: the debiased calibration error, and the ECE of a calibrated model.
OVERALL: Final = (*MEASURES, "calibration_error", "ece_if_calibrated")
_BLOCK: Final = 4_000_000  # weights held at a time, 32 MB


def rounded(value: float) -> float | None:
    """A number as JSON files hold it: rounded, and None where there is no value."""
    return round(value, DIGITS) if math.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """A value and its interval; `low` and `high` are NaN where there is none, as of a single group."""

    value: float
    low: float = NAN
    high: float = NAN

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The interval that `json` gave; None is NaN."""
        return cls(**{key: NAN if content[key] is None else content[key] for key in ("value", "low", "high")})

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def ends(self, form: str = ".3f", scale: float = 1) -> str:
        """Both ends, such as `0.758 to 0.874`, or `no interval`."""
        return f"{scale * self.low:{form}} to {scale * self.high:{form}}" if self.known else "no interval"

    def text(self, form: str = ".3f", scale: float = 1, unit: str = "") -> str:
        """`0.818 (0.758 to 0.874)`; without ends where there are none."""
        if not math.isfinite(self.value):
            return "unknown"
        return f"{scale * self.value:{form}}{unit}" + (f" ({self.ends(form, scale)})" if self.known else "")

    def percent(self) -> str:
        """`81.8 % (75.8 to 87.4)`; without ends where there are none."""
        return self.text(".1f", 100, " %")

    def json(self) -> dict[str, float | None]:
        """Value and ends, rounded; None where there is none."""
        return {key: rounded(end) for key, end in vars(self).items()}


@dataclass(frozen=True)
class Intervals:
    """Intervals of OVERALL (`overall`), and of precision, recall and F1 of each class (`per_class`)."""

    overall: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]


def bootstrap(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    clusters: Array,
    *,
    classes: Sequence[str] = (),
    baseline: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 42,
    bins: int = 15,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of every measure for probabilities (N, classes) of faces whose group is `clusters` (N,).

    `classes` are the names of the probabilities' columns, for the measures of each class; without them there are none.

    The ECE has none: it is biased upwards, the more the fewer the faces, so no interval around it holds the truth. The
    debiased `calibration_error` has one, and `ece_if_calibrated` is what a perfectly calibrated model would read. A
    class with fewer than 20 faces, or answers for its precision, has none either.

    With a `baseline`, another model's probabilities of the same faces, they are those of the differences from it, a
    paired bootstrap: both are measured on the same resamples, so what makes a resample easy or hard for both cancels
    out. A one-sided test at level alpha reads one end of the interval at `level` = 1 - 2 * alpha.

    Raises:
        ValueError: as `face_sums`, or a face lacks its cluster.
    """
    models = [probabilities] if baseline is None else [probabilities, baseline]
    sums = [cluster_sums(face_sums(labels, given, bins), clusters) for given in models]
    found = [
        {
            **resampled_measures(one, bins, n, seed),
            "ece_if_calibrated": np.array([ece_if_calibrated(given, bins, seed)]),
        }
        for one, given in zip(sums, models, strict=True)
    ]
    values = found[0] if baseline is None else {name: found[0][name] - found[1][name] for name in found[0]}
    behind = _behind_classes(sums, bins)
    support = behind["recall"].sum(axis=0)
    rarest = int((behind["recall"][:, support > 0] > 0).sum(axis=0).min())
    rests_on = {**dict.fromkeys(OVERALL, len(sums[0])), **dict.fromkeys((*MACRO, RECALL), rarest), "ece": 0}
    per_class: dict[str, dict[str, Interval]] = {}
    for k, one in enumerate(classes):
        per_class[one] = {}
        for name in CLASS_MEASURES:
            faces = behind[name][:, k]
            groups = int((faces > 0).sum()) if faces.sum() >= TOO_FEW else 0
            per_class[one][name] = interval(values[name][:, k], groups, level)
    return Intervals({name: interval(values[name], rests_on[name], level) for name in OVERALL}, per_class)


def _behind_classes(sums: Sequence[Floats], bins: int) -> dict[str, Floats]:
    """Faces of each cluster behind each class's measures, (clusters, classes): those that are called so for precision.

    Of several models' `sums` those of the fewer answers count.
    """
    classes = math.isqrt(sums[0].shape[1] - 2 - 3 * bins)
    cells = [one[:, : classes**2].reshape(-1, classes, classes) for one in sums]
    called, support = min((one.sum(axis=1) for one in cells), key=np.sum), cells[0].sum(axis=2)
    return {"precision": called, "recall": support, "f1": support}


def cluster_sums(values: Floats, clusters: Array) -> Floats:
    """Sums of the rows of values (N, K) by cluster, (clusters, K), in the clusters' order.

    Raises:
        ValueError: a row lacks its cluster.
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} faces and {len(clusters)} clusters: every face needs its group")
    order = np.argsort(clusters, kind="stable")
    ordered = clusters[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return np.add.reduceat(values[order], starts, axis=0)


def resampled_sums(sums: Floats, n: int, seed: int) -> Floats:
    """Totals of cluster sums (M, K): of all in the first row, below of n resamples of the clusters, (1 + n, K)."""
    return np.concatenate([weights @ sums for weights in _resamples(len(sums), n, seed)])


def _resamples(clusters: int, n: int, seed: int) -> Iterator[Floats]:
    """Blocks of rows that say how often each cluster is drawn: once each in the first, then n resamples.

    Each resample draws as many clusters as there are; a single one allows none. The draws depend on the seed and on
    the number of clusters alone, so that two models measured on the same groups meet the same resamples.
    """
    yield np.ones((1, clusters))
    generator, rows = np.random.default_rng(seed), max(1, _BLOCK // clusters)
    for start in range(0, n if clusters > 1 else 0, rows):
        count = min(rows, n - start)
        drawn = generator.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)


def resampled_measures(sums: Floats, bins: int, n: int, seed: int) -> dict[str, Floats]:
    """What `measures` gives and the `calibration_error` of all faces, then of n resamples, from their cluster sums."""
    drawn = [(weights @ sums, _calibration_error(sums, weights, bins)) for weights in _resamples(len(sums), n, seed)]
    totals, errors = (np.concatenate(blocks) for blocks in zip(*drawn, strict=True))
    return {**measures(totals, bins), "calibration_error": errors}


def _calibration_error(sums: Floats, weights: Floats, bins: int) -> Floats:
    """Debiased calibration error, (R,), where each cluster is drawn as often as weights (R, clusters) say.

    The root mean square over the faces of their bin's distance between confidence and accuracy, 0 to 1. A bin's squared
    distance is estimated from pairs of faces of two clusters, whose errors are independent, so that chance does not add
    to it (A. Kumar, P. Liang, T. Ma: Verified Uncertainty Calibration, NeurIPS 2019, without their assumption of
    independent faces). An estimate below 0 counts as 0.
    """
    faces, confidence, right = np.split(sums[:, -3 * bins :], 3, axis=1)
    gaps, total, squared = confidence - right, weights @ faces, weights**2
    pairs = total**2 - squared @ faces**2
    products = (weights @ gaps) ** 2 - squared @ gaps**2
    squares = total * np.where(pairs > 0, products / np.where(pairs > 0, pairs, 1), 0)
    found: Floats = np.sqrt(np.maximum(squares.sum(axis=1) / total.sum(axis=1), 0))
    return found


def ece_if_calibrated(probabilities: npt.ArrayLike, bins: int, seed: int, draws: int = 400) -> float:
    """The mean ECE if labels were drawn from these probabilities (N, classes), as for a perfectly calibrated model."""
    given = np.asarray(probabilities, dtype=np.float64)
    sums = face_sums(given.argmax(axis=1), given, bins)
    faces, confidence = sums[:, -3 * bins : -2 * bins], sums[:, -2 * bins : -bins]
    right = np.random.default_rng(seed).uniform(size=(draws, len(given))) < confidence.sum(axis=1)
    gaps = confidence.sum(axis=0) - right.astype(np.float64) @ faces
    return float(np.abs(gaps).sum(axis=1).mean() / len(given))


def interval(values: Floats, clusters: int, level: float = LEVEL) -> Interval:
    """The first value, and the middle of the samples behind it; samples without the measure are left out.

    `clusters` is how many of them the measure rests on: the middle is `level` with endless ones, more with few (see the
    module), and with fewer than two there is no interval.
    """
    from scipy.special import ndtr, stdtrit

    value, samples = float(values[0]), values[1:]
    finite = samples[np.isfinite(samples)]
    if not np.isfinite(value) or finite.size == 0 or clusters < 2:
        return Interval(value)
    tail = ndtr(stdtrit(clusters - 1, (1 - level) / 2) * math.sqrt(clusters / (clusters - 1)))
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
