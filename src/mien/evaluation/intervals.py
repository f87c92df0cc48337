"""Bootstrap intervals, and paired comparison of two models.

The cluster bootstrap of Davison & Hinkley (Bootstrap Methods and their Application, 1997, section 3.8):
photos are drawn with replacement, each with all its faces, and the interval holds the middle 95 % of the
measure over the resamples. With few photos it is somewhat too narrow, as every bootstrap is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from mien.base.classes import class_names
from mien.evaluation.checks import Floats, Ints
from mien.evaluation.measures import class_measures, face_sums, measures

LEVEL: Final = 0.95
_BLOCK: Final = 4_000_000  # weights held at a time, 32 MB


@dataclass(frozen=True)
class Interval:
    """A value and its interval; `low` and `high` are NaN where a single photo allows none."""

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


UNKNOWN: Final = Interval(float("nan"), float("nan"), float("nan"))


def photo_clusters(index: pd.DataFrame) -> Ints:
    """The photo of each face as a number, (N,) int64; one photo under two names is one photo."""
    return pd.factorize(index["photo_digest"])[0].astype(np.int64)


def cluster_sums(values: Floats, clusters: npt.NDArray[Any]) -> Floats:
    """Rows of values (N, K) summed within each cluster, (clusters, K), in the clusters' sorted order."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} faces and {len(clusters)} clusters: every face needs its photo")
    order = np.argsort(clusters, kind="stable")
    ordered = np.asarray(clusters)[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return np.asarray(np.add.reduceat(values[order], starts, axis=0))


def resampled(sums: Floats, n: int, seed: int) -> Floats:
    """Totals of n resamples of the clusters, (n, K): each draws as many clusters as there are.

    The draws depend on the seed and on the number of clusters alone, so that two models measured on the
    same photos meet the same resamples.
    """
    generator = np.random.default_rng(seed)
    clusters = len(sums)
    totals = np.empty((n, sums.shape[1]))
    rows = max(1, _BLOCK // clusters)
    for start in range(0, n, rows):
        count = min(rows, n - start)
        drawn = generator.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
        weights = np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)
        totals[start : start + count] = weights.astype(np.float64) @ sums
    return totals


def interval(value: float, samples: Floats, *, level: float = LEVEL, unbias: bool = False) -> Interval:
    """The middle `level` of the samples around a value; samples without the measure (NaN) are left out.

    `unbias` first moves the samples by their mean distance from the value. The calibration error needs it:
    it is a sum of absolute values, which resampling inflates, so that its plain percentiles can lie
    altogether above the value.
    """
    kept = samples[np.isfinite(samples)]
    if not np.isfinite(value) or kept.size == 0:
        return Interval(value, float("nan"), float("nan"))
    shift = kept.mean() - value if unbias else 0.0
    low, high = np.quantile(kept - shift, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class Intervals:
    """Intervals of `metrics.MEASURES`, and of precision, recall and F1 of each expression."""

    overall: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]


def bootstrap(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    clusters: npt.NDArray[Any],
    *,
    n: int = 1000,
    seed: int = 42,
    bins: int = 15,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of every measure for probabilities (N, classes) of faces whose photo is `clusters` (N,).

    Raises ValueError for labels or probabilities that are none, and where a face lacks its cluster.
    """
    sums = cluster_sums(face_sums(labels, probabilities, bins), clusters)
    whole = sums.sum(axis=0, keepdims=True)
    totals = resampled(sums, n if len(sums) > 1 else 0, seed)
    samples = measures(totals, bins)
    overall = {
        name: interval(float(value[0]), samples[name], level=level, unbias=name == "ece")
        for name, value in measures(whole, bins).items()
    }
    ece = overall["ece"]
    overall["ece"] = Interval(ece.value, max(ece.low, 0.0), min(ece.high, 1.0))
    values, drawn = class_measures(whole, bins), class_measures(totals, bins)
    per_class = {
        expression: {name: interval(float(values[name][0, k]), drawn[name][:, k], level=level) for name in values}
        for k, expression in enumerate(class_names(values["recall"].shape[1]))
    }
    return Intervals(overall, per_class)


COMPARED: Final = ("accuracy", "unweighted_average_recall", "ece", "nll")


def paired_bootstrap(
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.NDArray[Any],
    n: int = 2000,
    seed: int = 42,
    bins: int = 15,
    level: float = LEVEL,
    names: Sequence[str] = COMPARED,
) -> dict[str, Interval]:
    """Differences b - a of the named measures of `metrics.MEASURES`, with intervals.

    `a` and `b` are probabilities (N, 7) of the same faces, `clusters` (N,) their photos, `n` the number of
    resamples of photos. Both models are measured on the same resamples, so what makes a resample easy or
    hard for both cancels out. A one-sided test at level alpha reads one end of the interval at
    `level` = 1 - 2 * alpha. A single photo allows no interval: its ends are NaN.
    """
    sums_a = cluster_sums(face_sums(labels, a, bins), clusters)
    sums_b = cluster_sums(face_sums(labels, b, bins), clusters)
    resamples = n if len(sums_a) > 1 else 0
    whole_a, whole_b = (measures(s.sum(axis=0, keepdims=True), bins) for s in (sums_a, sums_b))
    drawn_a, drawn_b = (measures(resampled(s, resamples, seed), bins) for s in (sums_a, sums_b))
    return {
        name: interval(
            float(whole_b[name][0] - whole_a[name][0]),
            drawn_b[name] - drawn_a[name],
            level=level,
            unbias=name == "ece",
        )
        for name in names
    }


def paired_recalls(
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.NDArray[Any],
    n: int = 2000,
    seed: int = 42,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Differences b - a of each expression's recall, with intervals, on the resamples of `paired_bootstrap`.

    An expression without a face has none: its value and ends are NaN.
    """
    sums_a = cluster_sums(face_sums(labels, a, 1), clusters)
    sums_b = cluster_sums(face_sums(labels, b, 1), clusters)
    resamples = n if len(sums_a) > 1 else 0
    whole_a, whole_b = (class_measures(s.sum(axis=0, keepdims=True), 1)["recall"][0] for s in (sums_a, sums_b))
    drawn_a, drawn_b = (class_measures(resampled(s, resamples, seed), 1)["recall"] for s in (sums_a, sums_b))
    return {
        expression: interval(float(whole_b[k] - whole_a[k]), drawn_b[:, k] - drawn_a[:, k], level=level)
        for k, expression in enumerate(class_names(len(whole_a)))
    }
