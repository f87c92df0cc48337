"""Bootstrap intervals, and paired comparison of two models.

The cluster bootstrap of Davison & Hinkley (Bootstrap Methods and their Application, 1997, section 3.8): photos are
drawn with replacement, each with all its faces, and the interval holds the middle 95 % of the measure over the
resamples. With few photos it is somewhat too narrow, as every bootstrap is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from mien.base.classes import class_names
from mien.evaluation.measures import CLASS_MEASURES, MEASURES, Array, Floats, Ints, face_sums, measures

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

    def points(self) -> str:
        """A difference in percentage points: `+1.2 points (-0.4 to +2.8)`."""
        return f"{100 * self.value:+.1f} points ({self.ends('+.1f', 100)})"

    def json(self) -> dict[str, float | None]:
        """Value and ends, rounded; None where there is none."""
        return {key: rounded(end) for key, end in vars(self).items()}


@dataclass(frozen=True)
class Intervals:
    """Intervals of MEASURES (`overall`), and of precision, recall and F1 of each expression (`per_class`)."""

    overall: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]


def bootstrap(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    clusters: Array,
    *,
    baseline: npt.ArrayLike | None = None,
    n: int = 1000,
    seed: int = 42,
    bins: int = 15,
    level: float = LEVEL,
) -> Intervals:
    """Intervals of every measure for probabilities (N, classes) of faces whose photo is `clusters` (N,).

    With a `baseline`, another model's probabilities of the same faces, they are those of the differences from it, a
    paired bootstrap: both are measured on the same resamples, so what makes a resample easy or hard for both cancels
    out. A one-sided test at level alpha reads one end of the interval at `level` = 1 - 2 * alpha.

    Raises:
        ValueError: as `face_sums`, or a face lacks its cluster.
    """

    def values(given: npt.ArrayLike) -> dict[str, Floats]:
        return measures(resampled_sums(face_sums(labels, given, bins), clusters, n, seed), bins)

    found = values(probabilities)
    if baseline is not None:
        other = values(baseline)
        found = {name: found[name] - other[name] for name in found}
    overall = {name: interval(found[name], level=level, unbias=name == "ece") for name in MEASURES}
    if baseline is None:  # moving the samples may have moved them out of the range
        ece = overall["ece"]
        overall["ece"] = Interval(ece.value, max(ece.low, 0.0), min(ece.high, 1.0))
    per_class = {
        expression: {name: interval(found[name][:, k], level=level) for name in CLASS_MEASURES}
        for k, expression in enumerate(class_names(found["recall"].shape[1]))
    }
    return Intervals(overall, per_class)


def photo_clusters(index: "pd.DataFrame") -> Ints:
    """The photo of each face as a number, (N,) int64; one photo under two names is one photo."""
    import pandas as pd  # 0.5 s, and whoever shows an interval does without

    return pd.factorize(index["photo_digest"])[0].astype(np.int64)


def resampled_sums(values: Floats, clusters: Array, n: int, seed: int) -> Floats:
    """Sums of rows of values (N, K): of all in the first row, below of n resamples of the clusters, (1 + n, K).

    Each resample draws as many clusters as there are; a single one allows none, which leaves the first row alone. The
    draws depend on the seed and on the number of clusters alone, so that two models measured on the same photos meet
    the same resamples.
    """
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} faces and {len(clusters)} clusters: every face needs its photo")
    order = np.argsort(clusters, kind="stable")
    ordered = clusters[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sums = np.add.reduceat(values[order], starts, axis=0)
    totals = [sums.sum(axis=0, keepdims=True)]
    generator, many = np.random.default_rng(seed), len(sums)
    rows = max(1, _BLOCK // many)
    for start in range(0, n if many > 1 else 0, rows):
        count = min(rows, n - start)
        drawn = generator.integers(0, many, (count, many)) + np.arange(count)[:, None] * many
        weights = np.bincount(drawn.ravel(), minlength=count * many).reshape(count, many)
        totals.append(weights.astype(np.float64) @ sums)
    return np.concatenate(totals)


def interval(values: Floats, *, level: float = LEVEL, unbias: bool = False) -> Interval:
    """The first value, and the middle `level` of the samples behind it; samples without the measure are left out.

    `unbias` first moves the samples by their mean distance from the value. The calibration error needs it: it is a sum
    of absolute values, which resampling inflates, so that its plain percentiles can lie altogether above the value.
    """
    value, samples = float(values[0]), values[1:]
    finite = samples[np.isfinite(samples)]
    if not np.isfinite(value) or finite.size == 0:
        return Interval(value)
    shift = finite.mean() - value if unbias else 0.0
    low, high = np.quantile(finite - shift, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))
