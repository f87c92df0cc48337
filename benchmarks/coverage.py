"""Coverage of the printed intervals, and power of the gate's calibration rule, by simulation.

    python -m benchmarks.coverage --runs 1000 --faces 181 600 3589

Faces come in groups of one or more that resemble each other in class and difficulty; classes have FER2013's shares. A
model's probabilities are exactly right; multiplying its logits then makes the calibration error what it should be. A
second model, a little better, agrees with it on most faces: differences are between the two, paired. The truth is
measured on a million faces. Every interval comes from `mien.evaluation.intervals.bootstrap`, as in a report.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from scipy.optimize import brentq

from mien.evaluation.intervals import (
    OVERALL,
    Interval,
    Intervals,
    bootstrap,
    cluster_sums,
    interval,
    resampled_measures,
)
from mien.evaluation.measures import CLASS_MEASURES, Floats, Ints, face_sums, measures
from mien.runtime.session import softmax

SHARES: Final = np.array([491, 55, 528, 879, 594, 416, 626]) / 3589  # of FER2013's private test set
SKILL: Final = (1.7, 1.75)  # how far a face's logit of its class is raised, for each of the two models
SHARED: Final = 0.3  # of the variance of difficulty, within a group
ALIKE: Final = 0.8  # correlation of the two models' errors
BINS: Final = 15
ERRORS: Final = (0.0, 0.04, 0.08)  # expected calibration errors
REQUIRED: Final = 92.0
CALIBRATION: Final = ("ece", "ece_if_calibrated", "calibration_error")


@dataclass(frozen=True)
class Faces:
    """Labels and groups (N,), and each model's logits (N, classes), calibrated at temperature 1."""

    labels: Ints
    groups: Ints
    logits: tuple[Floats, Floats]


def draw(faces: int, seed: int) -> Faces:
    """Faces in groups of 1.4 on average, which end where there are enough."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(faces), 1 + generator.poisson(0.4, faces))[:faces]
    labels = generator.choice(len(SHARES), faces, p=SHARES)
    first_face = np.searchsorted(groups, groups)
    labels = np.where(generator.uniform(size=faces) < SHARED, labels[first_face], labels)

    def noise() -> Floats:
        shape = (faces, len(SHARES))
        of_group, own = generator.normal(size=shape)[groups], generator.normal(size=shape)
        return np.asarray(np.sqrt(SHARED) * of_group + np.sqrt(1 - SHARED) * own)

    first, raised = noise(), np.eye(len(SHARES))[labels]
    second = ALIKE * first + np.sqrt(1 - ALIKE**2) * noise()
    # The logits of a normal distribution around each class: their softmax is the class's true probability.
    one, other = (skill * (skill * raised + seen) for skill, seen in zip(SKILL, (first, second), strict=True))
    return Faces(labels, groups, (one + np.log(SHARES), other + np.log(SHARES)))


@cache
def truth(model: int, factor: float, blocks: int = 20) -> dict[str, Floats]:
    """The measures of a model whose logits are multiplied by `factor`, on so many times 50,000 faces."""
    sums = np.zeros(1)
    for seed in range(blocks):
        faces = draw(50_000, 10**6 + seed)
        sums = sums + face_sums(faces.labels, softmax(factor * faces.logits[model]), BINS).sum(axis=0, keepdims=True)
    many, confidence, right = np.split(sums[0, -3 * BINS :], 3)
    squares = (confidence - right) ** 2 / np.maximum(many, 1)
    return {**measures(sums, BINS), "calibration_error": np.sqrt([squares.sum() / many.sum()])}


@cache
def factor_of(model: int, error: float) -> float:
    """What to multiply logits by for this expected calibration error: sharper than they should be."""
    if error == 0:
        return 1.0
    return float(brentq(lambda factor: truth(model, factor, 4)["ece"][0] - error, 1.01, 3, xtol=1e-3))


@dataclass(frozen=True)
class Cell:
    """Percentages of intervals that hold the truth, by measure (those printed at all), and means of other numbers."""

    faces: int
    error: float
    held: dict[str, float]
    means: dict[str, float]


def simulate(faces: int, error: float, runs: int, resamples: int = 1000) -> Cell:
    """One model with this calibration error, its difference from the other one, which is calibrated, and the gate."""
    factors = factor_of(0, 0), factor_of(1, error)
    first, second = truth(0, factors[0]), truth(1, factors[1])
    held, values = defaultdict(list), defaultdict(list)
    for seed in range(runs):
        drawn = draw(faces, seed)
        given = [softmax(factor * logits) for factor, logits in zip(factors, drawn.logits, strict=True)]
        how = {"n": resamples, "seed": seed, "bins": BINS}
        alone = bootstrap(drawn.labels, given[1], drawn.groups, **how)
        paired = bootstrap(drawn.labels, given[1], drawn.groups, baseline=given[0], **how)
        for name, found, expected in _printed(alone, second):
            held[name].append(found.low <= expected <= found.high)
        for name, found, expected in _printed(paired, {name: second[name] - first[name] for name in second}):
            held[f"change of {name}"].append(found.low <= expected <= found.high)
        for name in CALIBRATION:
            values[name].append(alone.overall[name].value)
        sums = [cluster_sums(face_sums(drawn.labels, one, BINS), drawn.groups) for one in given]
        errors = [resampled_measures(one, BINS, resamples, seed)["calibration_error"] for one in sums]
        values["blocked"].append(100 * (interval(errors[1] - errors[0], len(sums[0]), 0.9).low > 0))
    means = {name: float(np.mean(many)) for name, many in values.items()}
    return Cell(faces, error, {name: 100 * float(np.mean(many)) for name, many in held.items()}, means)


def _printed(found: Intervals, expected: dict[str, Floats]) -> Iterator[tuple[str, Interval, float]]:
    """Each interval that is printed, by its measure, with the truth; those of all classes under the same name."""
    for name in sorted({*OVERALL} & {*expected} - {"macro_recall"}):  # the unweighted average recall is the same
        if found.overall[name].known:
            yield name, found.overall[name], float(expected[name][0])
    for k, scores in enumerate(found.per_class.values()):
        for name in CLASS_MEASURES:
            if scores[name].known:
                yield f"class {name}", scores[name], float(expected[name][0, k])


def tables(cells: Sequence[Cell]) -> str:
    """Both tables as Markdown."""
    shown = sorted({name for cell in cells for name in cell.held})
    head = [f"{cell.faces:,} faces, ECE {cell.error:g}" for cell in cells]
    rows = [
        [name.replace("_", " "), *(f"{cell.held[name]:.0f}" if name in cell.held else "none" for cell in cells)]
        for name in shown
    ]
    numbers = [
        [
            f"{cell.faces:,}",
            f"{cell.error:g}",
            *(f"{cell.means[name]:.3f}" for name in CALIBRATION),
            f"{truth(1, factor_of(1, cell.error))['calibration_error'][0]:.3f}",
            f"{cell.means['blocked']:.0f}",
        ]
        for cell in cells
    ]
    means = ["faces", "true ECE", "ECE", "if calibrated", "debiased", "true debiased", "kept out by the gate, %"]
    return "\n".join([*_table(["interval of", *head], rows), "", *_table(means, numbers)])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


def main() -> None:
    """Print each cell as it is done, then the tables; fails where an interval holds the truth too seldom."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--faces", type=int, nargs="+", default=[181, 600, 3589])
    parser.add_argument("--resamples", type=int, default=1000)
    given = parser.parse_args()
    cells = []
    for faces in given.faces:
        for error in ERRORS:
            cells.append(simulate(faces, error, given.runs, given.resamples))
            print(cells[-1], flush=True)
    print(tables(cells))
    low = {(c.faces, c.error, name): held for c in cells for name, held in c.held.items() if held < REQUIRED}
    raise SystemExit(f"below {REQUIRED:g} %: {low}" if low else 0)


if __name__ == "__main__":
    main()
