"""Bootstrap intervals, and paired comparison of two models.

The cluster bootstrap of Davison & Hinkley (Bootstrap Methods and their Application, 1997, section 3.8):
photos are drawn with replacement, each with all its faces, and the interval holds the middle 95 % of the
measure over the resamples. With few photos it is somewhat too narrow, as every bootstrap is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from mien.base.classes import class_names
from mien.evaluation.measures import Floats, Ints, class_measures, face_sums, measures

if TYPE_CHECKING:
    import pandas as pd

LEVEL: Final = 0.95
DIGITS: Final = 6  # in files, so that the last bit of another machine is no change
NAN: Final = float("nan")
_BLOCK: Final = 4_000_000  # weights held at a time, 32 MB


def rounded(value: float) -> float | None:
    """A number as JSON files hold it: rounded, and None where there is no value."""
    return round(value, DIGITS) if math.isfinite(value) else None


@dataclass(frozen=True)
class Interval:
    """A value and its interval; `low` and `high` are NaN where a single photo allows none."""

    value: float
    low: float = NAN
    high: float = NAN

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The interval that `json` gave; None is NaN."""
        return cls(*(NAN if content.get(key) is None else content[key] for key in ("value", "low", "high")))

    @property
    def known(self) -> bool:
        """Whether there is an interval at all."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def ends(self, form: str = ".3f", scale: float = 1) -> str:
        """Both ends, such as `0.758 to 0.874`, or `no interval`."""
        return f"{scale * self.low:{form}} to {scale * self.high:{form}}" if self.known else "no interval"

    def text(self, form: str = ".3f") -> str:
        """`0.818 (0.758 to 0.874)`; without ends where there are none."""
        if not math.isfinite(self.value):
            return "unknown"
        return f"{self.value:{form}}" + (f" ({self.ends(form)})" if self.known else "")

    def percent(self) -> str:
        """`81.8 % (75.8 to 87.4)`; without ends where there are none."""
        if not math.isfinite(self.value):
            return "unknown"
        return f"{100 * self.value:.1f} %" + (f" ({self.ends('.1f', 100)})" if self.known else "")

    def points(self) -> str:
        """A difference in percentage points: `+1.2 points (-0.4 to +2.8)`."""
        return f"{100 * self.value:+.1f} points ({self.ends('+.1f', 100)})"

    def json(self) -> dict[str, float | None]:
        """Value and ends, rounded; None where there is none."""
        return {"value": rounded(self.value), "low": rounded(self.low), "high": rounded(self.high)}


@dataclass(frozen=True)
class Intervals:
    """Intervals of MEASURES (`overall`), and of precision, recall and F1 of each expression (`per_class`)."""

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

    Raises:
        ValueError: labels or probabilities are none, or a face lacks its cluster.
    """
    whole, drawn = _totals(face_sums(labels, probabilities, bins), clusters, n, seed)
    found = _intervals(_Values.of(whole, bins), _Values.of(drawn, bins), level)
    ece = found.overall["ece"]
    found.overall["ece"] = Interval(ece.value, max(ece.low, 0.0), min(ece.high, 1.0))
    return found


def paired_bootstrap(
    labels: npt.ArrayLike,
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.NDArray[Any],
    *,
    n: int = 2000,
    seed: int = 42,
    bins: int = 15,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of the differences b - a of every measure.

    `a` and `b` are probabilities (N, classes) of the same faces, `clusters` (N,) their photos, `n` the number of
    resamples of photos. Both models are measured on the same resamples, so what makes a resample easy or
    hard for both cancels out. A one-sided test at level alpha reads one end of the interval at
    `level` = 1 - 2 * alpha. A single photo allows no interval: its ends are NaN.
    """
    whole_a, drawn_a = _totals(face_sums(labels, a, bins), clusters, n, seed)
    whole_b, drawn_b = _totals(face_sums(labels, b, bins), clusters, n, seed)
    whole = _Values.of(whole_b, bins) - _Values.of(whole_a, bins)
    return _intervals(whole, _Values.of(drawn_b, bins) - _Values.of(drawn_a, bins), level)


def photo_clusters(index: "pd.DataFrame") -> Ints:
    """The photo of each face as a number, (N,) int64; one photo under two names is one photo."""
    import pandas as pd  # 0.5 s, and whoever shows an interval does without

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
    finite = samples[np.isfinite(samples)]
    if not np.isfinite(value) or finite.size == 0:
        return Interval(value)
    shift = finite.mean() - value if unbias else 0.0
    low, high = np.quantile(finite - shift, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


@dataclass(frozen=True)
class _Values:
    """Measures of R rows of sums: each overall measure (R,), each measure of the classes (R, classes)."""

    overall: dict[str, Floats]
    per_class: dict[str, Floats]

    @classmethod
    def of(cls, sums: Floats, bins: int) -> Self:
        return cls(measures(sums, bins), class_measures(sums, bins))

    def __sub__(self, other: Self) -> Self:
        return type(self)(
            {name: values - other.overall[name] for name, values in self.overall.items()},
            {name: values - other.per_class[name] for name, values in self.per_class.items()},
        )


def _totals(sums: Floats, clusters: npt.NDArray[Any], n: int, seed: int) -> tuple[Floats, Floats]:
    """The sums over all faces, (1, K), and over n resamples of the clusters, (n, K); none of a single cluster."""
    by_cluster = cluster_sums(sums, clusters)
    return by_cluster.sum(axis=0, keepdims=True), resampled(by_cluster, n if len(by_cluster) > 1 else 0, seed)


def _intervals(whole: _Values, drawn: _Values, level: float) -> Intervals:
    overall = {
        name: interval(float(values[0]), drawn.overall[name], level=level, unbias=name == "ece")
        for name, values in whole.overall.items()
    }
    names = class_names(whole.per_class["recall"].shape[1])
    per_class = {
        expression: {
            name: interval(float(values[0, k]), drawn.per_class[name][:, k], level=level)
            for name, values in whole.per_class.items()
        }
        for k, expression in enumerate(names)
    }
    return Intervals(overall, per_class)
