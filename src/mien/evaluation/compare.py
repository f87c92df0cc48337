"""Is model b better than model a on the same faces? Paired differences with intervals."""

from typing import Any, Final

import numpy.typing as npt

from mien.evaluation.bootstrap import LEVEL, Interval, cluster_sums, interval, resampled
from mien.evaluation.sums import face_sums, measures

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
) -> dict[str, Interval]:
    """Differences b - a of accuracy, unweighted average recall, ECE and NLL, with intervals.

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
        for name in COMPARED
    }
