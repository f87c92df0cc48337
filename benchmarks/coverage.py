"""Coverage of the printed intervals, and power of the gate's calibration rule, by simulation.

    python -m benchmarks.coverage

Faces come in groups of one or more that resemble each other in class and difficulty; classes have FER2013's shares. A
model's probabilities are exactly right; multiplying its logits then makes the calibration error what it should be. A
second model, a little better, agrees with it on most faces: differences are between the two, paired. The truth is
measured on a million faces. Every interval comes from `mien.evaluation.intervals`, as in a report; models that answer
the same faces are resampled together.

Counts are kept after every 20 runs, in a file for each number of faces: the same command goes on where it was stopped.
At the end it writes the two tables of docs/evidence/coverage.md.
"""

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import brentq

from mien.base.classes import EXPRESSIONS
from mien.evaluation.intervals import OVERALL, Interval, Resampled, intervals, proportion, resample
from mien.evaluation.measures import CLASS_MEASURES, Floats, Ints, face_sums, measures
from mien.runtime.session import softmax

SHARES: Final = np.array([491, 55, 528, 879, 594, 416, 626]) / 3589  # of FER2013's private test set
SHARED: Final = 0.3  # of the variance of difficulty, within a group
ALIKE: Final = 0.8  # correlation of the two models' errors
BINS: Final = 15
LARGE: Final = 60  # expected faces from which a class is counted in another row
FEWEST: Final = 100  # intervals from which a coverage is judged
REQUIRED: Final = 92.0
CALIBRATION: Final = ("ece", "ece_if_calibrated", "calibration_error")
EVERY: Final = 20  # runs between two writes
RESULTS: Final = Path(__file__).parent / "results" / "coverage"
PAGE: Final = Path(__file__).parents[1] / "docs" / "evidence" / "coverage.md"


@dataclass(frozen=True)
class Setting:
    """A model: how far a face's logit of its class is raised, of the other model and of this one, and its ECE."""

    right: str
    skills: tuple[float, float]
    error: float


FAIR: Final = ("69 % right", (1.7, 1.75))
SETTINGS: Final = (*(Setting(*FAIR, error) for error in (0.0, 0.04, 0.08)), Setting("86 % right", (2.43, 2.48), 0.04))


@dataclass
class Cell:
    """Counts over runs of one setting: intervals by measure, those that hold the truth, and sums of other numbers."""

    printed: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    sums: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def count(self, name: str, found: Interval, expected: float) -> None:
        """Count an interval, if there is one."""
        if found.known:
            self.printed[name] += 1
            self.held[name] += bool(found.low <= expected <= found.high)

    @property
    def coverage(self) -> dict[str, float]:
        """Percentages of intervals that hold the truth, by measure with enough of them."""
        return {name: 100 * self.held[name] / many for name, many in self.printed.items() if many >= FEWEST}


@dataclass(frozen=True)
class Faces:
    """Labels and groups (N,), and what each of two models sees beside the class, (N, classes)."""

    labels: Ints
    groups: Ints
    seen: tuple[Floats, Floats]

    def probabilities(self, model: int, skill: float, factor: float) -> Floats:
        """The answers of a model whose logits are multiplied by `factor`; they are calibrated at 1."""
        raised = np.eye(len(SHARES))[self.labels]
        # The logits of a normal distribution around each class: their softmax is the class's true probability.
        return softmax(factor * (skill * (skill * raised + self.seen[model]) + np.log(SHARES)))


def draw(faces: int, seed: int) -> Faces:
    """Faces in groups of 1.4 on average, which end where there are enough."""
    generator = np.random.default_rng([faces, seed])
    groups = np.repeat(np.arange(faces), 1 + generator.poisson(0.4, faces))[:faces]
    labels = generator.choice(len(SHARES), faces, p=SHARES)
    first_face = np.searchsorted(groups, groups)
    labels = np.where(generator.uniform(size=faces) < SHARED, labels[first_face], labels)

    def noise() -> Floats:
        shape = (faces, len(SHARES))
        of_group, own = generator.normal(size=shape)[groups], generator.normal(size=shape)
        return np.asarray(np.sqrt(SHARED) * of_group + np.sqrt(1 - SHARED) * own)

    first = noise()
    return Faces(labels, groups, (first, ALIKE * first + np.sqrt(1 - ALIKE**2) * noise()))


@cache
def truth(skill: float, factor: float, blocks: int = 20) -> dict[str, Floats]:
    """The measures of a model whose logits are multiplied by `factor`, on so many times 50,000 faces."""
    sums = np.zeros(1)
    for seed in range(blocks):
        faces = draw(50_000, seed)
        answers = faces.probabilities(0, skill, factor)
        sums = sums + face_sums(faces.labels, answers, BINS).sum(axis=0, keepdims=True)
    many, confidence, right = np.split(sums[0, -3 * BINS :], 3)
    squares = (confidence - right) ** 2 / np.maximum(many, 1)
    return {**measures(sums, BINS), "calibration_error": np.sqrt([squares.sum() / many.sum()])}


@cache
def factor_of(skill: float, error: float) -> float:
    """What to multiply logits by for this expected calibration error: sharper than they should be."""
    if error == 0:
        return 1.0
    return float(brentq(lambda factor: truth(skill, factor, 4)["ece"][0] - error, 1.01, 4, xtol=1e-3))


def run(faces: int, seed: int, settings: Mapping[Setting, Cell], resamples: int = 1000) -> None:
    """Count the intervals of each setting's model, and of its difference from the calibrated one, on drawn faces."""
    drawn = draw(faces, seed)
    others = {one.skills: drawn.probabilities(0, one.skills[0], 1) for one in settings}
    answers = [drawn.probabilities(1, one.skills[1], factor_of(one.skills[1], one.error)) for one in settings]
    how = {"n": resamples, "seed": seed, "bins": BINS}
    found = resample(drawn.labels, [*others.values(), *answers], drawn.groups, **how)
    baselines = dict(zip(others, found, strict=False))
    third = np.bincount(drawn.groups, drawn.labels >= 0) * (np.arange(drawn.groups[-1] + 1) % 3 == 0)
    for (setting, cell), model in zip(settings.items(), found[len(others) :], strict=True):
        before = truth(setting.skills[0], 1)
        after = truth(setting.skills[1], factor_of(setting.skills[1], setting.error))
        _count(cell, model, None, after)
        _count(cell, model, baselines[setting.skills], {name: after[name] - before[name] for name in after})
        hits = model.ratios["accuracy"][0][:, 0] * (third > 0)
        cell.count("slice accuracy, a third of the faces", proportion(hits, third), float(after["accuracy"][0]))
        for name in CALIBRATION:
            cell.sums[name] += float(model.values[name][0])
        difference = intervals((), model, baselines[setting.skills], level=0.9).overall["calibration_error"]
        cell.sums["blocked"] += 100 * (difference.low > 0)


def _count(cell: Cell, model: Resampled, baseline: Resampled | None, expected: Mapping[str, Floats]) -> None:
    """Count each interval by its measure; those of all classes of a size under the same name."""
    found, change = intervals(EXPRESSIONS, model, baseline), "" if baseline is None else "change of "
    many = model.ratios["accuracy"][1].sum()
    for name in {*OVERALL} & {*expected} - {"macro_recall"}:  # the unweighted average recall is the same
        cell.count(change + name, found.overall[name], float(expected[name][0]))
    for k, scores in enumerate(found.per_class.values()):
        faces = f"fewer than {LARGE} faces" if many * SHARES[k] < LARGE else f"{LARGE} faces or more"
        for name in CLASS_MEASURES:
            cell.count(f"{change}class {name}, {faces}", scores[name], float(expected[name][0, k]))


def simulate(faces: int, runs: int, file: Path | None = None, settings: Sequence[Setting] = SETTINGS) -> list[Cell]:
    """A cell for each setting; they go on from those in `file`, and are kept there."""
    cells, done = [Cell() for _ in settings], 0
    if file is not None and file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        done = kept["runs"]
        cells = [
            Cell(Counter(one["printed"]), Counter(one["held"]), defaultdict(float, one["sums"]))
            for one in kept["cells"]
        ]
    for seed in range(done, runs):
        run(faces, seed, dict(zip(settings, cells, strict=True)))
        if file is not None and ((seed + 1) % EVERY == 0 or seed + 1 == runs):
            _keep(file, {"faces": faces, "runs": seed + 1}, settings, cells)
    return cells


def _keep(file: Path, about: Mapping[str, int], settings: Sequence[Setting], cells: Sequence[Cell]) -> None:
    rows = [{**vars(setting), **vars(cell)} for setting, cell in zip(settings, cells, strict=True)]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps({**about, "cells": rows}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(file)


def tables(done: Mapping[int, Sequence[Cell]], runs: int) -> tuple[str, str]:
    """Both tables as Markdown: the coverage, and means."""
    cells = {(faces, setting): cell for faces, of in done.items() for setting, cell in zip(SETTINGS, of, strict=True)}
    shown = sorted({name for cell in cells.values() for name in cell.coverage})
    head = [f"{faces:,} faces, {one.right}, ECE {one.error:g}" for faces, one in cells]
    rows = [
        [name.replace("_", " "), *(f"{c.coverage[name]:.0f}" if name in c.coverage else "none" for c in cells.values())]
        for name in shown
    ]
    numbers = [
        [
            f"{faces:,}",
            one.right,
            f"{one.error:g}",
            *(f"{cell.sums[name] / runs:.3f}" for name in CALIBRATION),
            f"{truth(one.skills[1], factor_of(one.skills[1], one.error))['calibration_error'][0]:.3f}",
            f"{cell.sums['blocked'] / runs:.0f}",
        ]
        for (faces, one), cell in cells.items()
    ]
    means = ["faces", "model", "true ECE", "ECE", "if calibrated", "debiased", "true debiased", "rejected, %"]
    return _table([f"interval of, {runs:,} runs", *head], rows), _table(means, numbers)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def too_low(cells: Sequence[Cell]) -> dict[str, Any]:
    """Measures whose intervals hold the truth too seldom in one of the cells, with the coverage in each."""
    names = sorted({name for cell in cells for name, held in cell.coverage.items() if held < REQUIRED})
    return {name: [(round(c.coverage.get(name, np.nan), 1), c.printed[name]) for c in cells] for name in names}


def main() -> None:
    """Write the tables into the page; fails where an interval holds the truth too seldom."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--faces", type=int, nargs="+", default=[181, 600, 3589])
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    done = {}
    for faces in given.faces:
        done[faces] = simulate(faces, given.runs, given.results / f"{faces}.json")
        print(f"{faces:,} faces: {too_low(done[faces]) or 'done'}", flush=True)
    both = iter(tables(done, given.runs))
    text = re.sub(r"(?m)(^\|.*\n)+", lambda _: next(both), PAGE.read_text(encoding="utf-8"), count=2)
    PAGE.write_text(text, encoding="utf-8")
    raise SystemExit(f"below {REQUIRED:g} %" if any(map(too_low, done.values())) else 0)


if __name__ == "__main__":
    main()
