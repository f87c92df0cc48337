"""Is model b better than model a on the same faces? Paired differences with intervals."""

from collections.abc import Sequence
from typing import Any, Final

import numpy.typing as npt

from mien.evaluation.bootstrap import LEVEL, Interval, cluster_sums, interval, resampled
from mien.evaluation.sums import class_measures, face_sums, measures
from mien.expressions import class_names

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
