"""Intervals of measures, and paired comparison of two models.

Faces come in the split's groups (a photo with its copies, or a person), which are the independent units. Shares
(accuracy, recall, precision, F1) have score intervals (E. B. Wilson, JASA 22, 1927) for the effective number of faces,
which the variance between groups gives, with a t quantile for few groups (Korn & Graubard, Survey Methodology 24, 1998;
N. Dean, M. Pagano, J. of Survey Statistics and Methodology 3, 2015), and their changes t intervals. Both keep a width
where every answer is right.

All else is a cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8): groups
are drawn with replacement, each with all its faces, and the interval is the middle of the measure's resamples, widened
for few groups: the expanded percentile interval of T. Hesterberg (What Teachers Should Know About the Bootstrap, The
American Statistician 69(4), 2015). `benchmarks/coverage.py` measures how often intervals hold the truth.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from mien.evaluation.measures import CLASS_MEASURES, MACRO, MEASURES, RECALL, Array, Floats, face_sums, measures, ratios

LEVEL: Final = 0.95
DIGITS: Final = 6  # in files, so that the last bit of another machine is no change
NAN: Final = float("nan")
TOO_FEW: Final = 20  # faces below which nothing is said of a class or slice
# What `bootstrap` gives beside MEASURES: the debiased calibration error, and the ECE of a calibrated model.
OVERALL: Final = (*MEASURES, "calibration_error", "ece_if_calibrated")
_BLOCK: Final = 4_000_000  # weights, or drawn labels, held at a time: 32 MB


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

    def resting_on(self, faces: float) -> Self:
        """The interval, or where it rests on fewer than 20 faces its value alone."""
        return self if faces >= TOO_FEW else type(self)(self.value)

    def ends(self, form: str = ".3f", scale: float = 1, unit: str = "") -> str:
        """Both ends, such as `0.758 to 0.874`, or `no interval`."""
        return f"{scale * self.low:{form}} to {scale * self.high:{form}}{unit}" if self.known else "no interval"

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


@dataclass(frozen=True)
class Resampled:
    """A model's `face_sums` by group, (groups, columns), and its measures: of all faces first, then of resamples."""

    sums: Floats
    values: dict[str, Floats]

    @cached_property
    def ratios(self) -> dict[str, tuple[Floats, Floats]]:
        """Numerators and denominators of shares by group: accuracy (groups, 1), CLASS_MEASURES (groups, classes)."""
        classes = self.values["recall"].shape[1]
        by_class = ratios(self.sums[:, : classes**2].reshape(-1, classes, classes))
        right, support = (part.sum(axis=1, keepdims=True) for part in by_class["recall"])
        return {**by_class, "accuracy": (right, support)}


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

    With a `baseline`, another model's probabilities of the same faces, they are those of the differences from it,
    paired: both are measured on the same resamples, so what makes a resample easy or hard for both cancels out. A
    one-sided test at level alpha reads one end of the interval at `level` = 1 - 2 * alpha. A face without its cluster
    is a ValueError, and what `face_sums` refuses.
    """
    models = [probabilities] if baseline is None else [probabilities, baseline]
    return intervals(classes, *resample(labels, models, clusters, n=n, seed=seed, bins=bins), level=level)


def resample(
    labels: npt.ArrayLike, models: Sequence[npt.ArrayLike], clusters: Array, *, n: int, seed: int, bins: int
) -> list[Resampled]:
    """What `bootstrap` measures of each of several models, all on the same resamples."""
    sums = [cluster_sums(face_sums(labels, given, bins), clusters) for given in models]
    drawn = [
        [(totals := weights @ one, _calibration_error(one, weights, totals, bins)) for one in sums]
        for weights in _resamples(len(sums[0]), n, seed)
    ]
    found = []
    for one, given, blocks in zip(sums, models, zip(*drawn, strict=True), strict=True):
        totals, errors = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        calibrated = np.array([ece_if_calibrated(given, bins, seed)])
        values = {**measures(totals, bins), "calibration_error": errors, "ece_if_calibrated": calibrated}
        found.append(Resampled(one, values))
    return found


def intervals(
    classes: Sequence[str], model: Resampled, baseline: Resampled | None = None, *, level: float = LEVEL
) -> Intervals:
    """Intervals of a model's measures, or of their differences from those of a baseline."""
    both = [model] if baseline is None else [model, baseline]
    values = model.values if baseline is None else {k: model.values[k] - baseline.values[k] for k in model.values}
    support, answers = model.ratios["recall"][1], [one.ratios["precision"][1] for one in both]
    behind = dict.fromkeys(CLASS_MEASURES, support.sum(axis=0)) | {"precision": np.min(np.sum(answers, axis=1), axis=0)}
    # An average of classes rests on the groups of the rarest, that of precisions on those of the rarest answer.
    rarest, unusual = (
        min(int((part[:, support.any(axis=0)] > 0).sum(axis=0).min()) for part in parts)
        for parts in ([support], [support, *answers])
    )
    averages = {**dict.fromkeys((*MACRO, RECALL), rarest), "macro_precision": unusual}
    rests_on = {**dict.fromkeys(OVERALL, len(support)), **averages, "ece": 0}
    overall = {name: interval(values[name], rests_on[name], level) for name in OVERALL}

    def share(name: str, k: int) -> Interval:
        shares = [(hits[:, k], trials[:, k]) for hits, trials in (one.ratios[name] for one in both)]
        return proportion(*shares[0], level) if baseline is None else change(shares[0], shares[1], level)

    def of_class(name: str, k: int) -> Interval:
        value = float(values[name][0, k])
        return share(name, k) if behind[name][k] >= TOO_FEW and math.isfinite(value) else Interval(value)

    overall["accuracy"] = share("accuracy", 0)
    return Intervals(overall, {one: {m: of_class(m, k) for m in CLASS_MEASURES} for k, one in enumerate(classes)})


def proportion(hits: Floats, trials: Floats, level: float = LEVEL) -> Interval:
    """The share of hits among trials, both summed by group, with Wilson's score interval for clustered samples.

    The effective number of trials is that which would give independent ones the variance seen between groups: at most
    the trials, and one for each group where all groups agree. There is no interval with fewer than two groups.
    """
    groups, total = int((trials > 0).sum()), float(trials.sum())
    share, errors = _share(hits, trials)
    if groups < 2:
        return Interval(share)
    variance = groups / (groups - 1) * float((errors**2).sum())
    effective = min(share * (1 - share) / variance, total) if variance > 0 else groups
    t = _t(groups, level)
    centre = share + t**2 / (2 * effective)
    half = t * math.sqrt(share * (1 - share) / effective + (t / (2 * effective)) ** 2)
    low, high = ((centre + sign * half) / (1 + t**2 / effective) for sign in (-1, 1))
    return Interval(share, max(0.0, min(low, share)), min(1.0, max(high, share)))  # by the last bit


def change(new: tuple[Floats, Floats], old: tuple[Floats, Floats], level: float = LEVEL) -> Interval:
    """A share less that of another model on the same groups, each as hits and trials by group.

    A t interval after two made-up faces, of which each model alone gets one right (D. G. Bonett, R. M. Price, J. of
    Educational and Behavioral Statistics 37, 2012): models that agree on few faces have a difference of some width too,
    and a bound far out rests on more than a handful of resamples. There is none with fewer than two groups.
    """
    groups, value = int((new[1] + old[1] > 0).sum()), _share(*new)[0] - _share(*old)[0]
    if groups < 2:
        return Interval(value)
    ours, our_errors = _share(np.append(new[0], [1, 0]), np.append(new[1], [1, 1]))
    theirs, their_errors = _share(np.append(old[0], [0, 1]), np.append(old[1], [1, 1]))
    variance = (groups + 2) / (groups + 1) * float(((our_errors - their_errors) ** 2).sum())
    centre, half = ours - theirs, _t(groups, level) * math.sqrt(variance)
    return Interval(value, max(centre - half, -1.0), min(centre + half, 1.0))


def _share(hits: Floats, trials: Floats) -> tuple[float, Floats]:
    """Hits by trials (NaN without a trial), and what each group adds to the linearised error of this ratio."""
    total = float(trials.sum()) or NAN
    share = float(hits.sum()) / total
    return share, (hits - share * trials) / total


def _t(groups: int, level: float) -> float:
    """The quantile of Student's t that leaves `level` in the middle."""
    from scipy.special import stdtrit

    return -float(stdtrit(groups - 1, (1 - level) / 2))


def cluster_sums(values: Floats, clusters: Array) -> Floats:
    """Sums of rows (N, K) by cluster, (clusters, K), in the clusters' order; a row without one is a ValueError."""
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} faces and {len(clusters)} clusters: every face needs its group")
    order = np.argsort(clusters, kind="stable")
    ordered = clusters[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return np.add.reduceat(values[order], starts, axis=0)


def _resamples(clusters: int, n: int, seed: int) -> Iterator[Floats]:
    """Blocks of rows that say how often each cluster is drawn: once each in the first, then n resamples of as many.

    A single cluster allows none. Draws depend on seed and number alone: all models of the same groups meet the same.
    """
    yield np.ones((1, clusters))
    generator, rows = np.random.default_rng(seed), max(1, _BLOCK // clusters)
    for start in range(0, n if clusters > 1 else 0, rows):
        count = min(rows, n - start)
        drawn = generator.integers(0, clusters, (count, clusters)) + np.arange(count)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters).astype(np.float64)


def _calibration_error(sums: Floats, weights: Floats, totals: Floats, bins: int) -> Floats:
    """Debiased calibration error, (R,), where each cluster is drawn as often as weights (R, clusters) say.

    `totals` are weights @ sums.

    The root mean square over the faces of their bin's distance between confidence and accuracy, 0 to 1. A bin's squared
    distance is estimated from pairs of faces of two clusters, whose errors are independent, so that chance does not add
    to it (A. Kumar, P. Liang, T. Ma: Verified Uncertainty Calibration, NeurIPS 2019, without their assumption of
    independent faces). An estimate below 0 counts as 0.
    """
    (faces, gaps), (total, gap) = (
        (part[:, -3 * bins : -2 * bins], part[:, -2 * bins : -bins] - part[:, -bins:]) for part in (sums, totals)
    )
    own_faces, own_gaps = np.split(weights**2 @ np.hstack([faces, gaps]) ** 2, 2, axis=1)
    pairs, products = total**2 - own_faces, gap**2 - own_gaps
    squares = total * np.where(pairs > 0, products / np.where(pairs > 0, pairs, 1), 0)
    return np.asarray(np.sqrt(np.maximum(squares.sum(axis=1) / total.sum(axis=1), 0)))


def ece_if_calibrated(probabilities: npt.ArrayLike, bins: int, seed: int, draws: int = 400) -> float:
    """The mean ECE if labels were drawn from these probabilities (N, classes), as for a perfectly calibrated model."""
    given = np.asarray(probabilities, dtype=np.float64)
    sums = face_sums(given.argmax(axis=1), given, bins)
    faces, confidence = sums[:, -3 * bins : -2 * bins], sums[:, -2 * bins : -bins]
    of_faces, of_bins = confidence.sum(axis=1), confidence.sum(axis=0)
    generator, rows, gaps = np.random.default_rng(seed), max(1, _BLOCK // max(len(given), 1)), []
    for start in range(0, draws, rows):
        right = generator.uniform(size=(min(rows, draws - start), len(given))) < of_faces
        gaps.append(of_bins - right.astype(np.float64) @ faces)
    return float(np.abs(np.concatenate(gaps)).sum(axis=1).mean() / len(given))


def interval(values: Floats, clusters: int, level: float = LEVEL) -> Interval:
    """The first value, and the middle of the samples behind it; samples without the measure are left out.

    `clusters` is how many of them the measure rests on: the middle is `level` with endless ones, more with few (see the
    module), and with fewer than two there is no interval.
    """
    from scipy.special import ndtr

    value, samples = float(values[0]), values[1:]
    finite = samples[np.isfinite(samples)]
    if not np.isfinite(value) or finite.size == 0 or clusters < 2:
        return Interval(value)
    tail = ndtr(-_t(clusters, level) * math.sqrt(clusters / (clusters - 1)))
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
