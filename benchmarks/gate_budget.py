"""The gate's error budget by simulation: what a campaign of ten candidates promotes by chance, and what by merit.

    python -m benchmarks.gate_budget --campaigns 1000 --faces 200 3589

A campaign is a champion and ten candidates on one test set. Without a gain all are equally good in truth, and a
promotion is an error. Otherwise the first, or the tenth after nine that are no better, is three points better. Faces
come in groups, and the models' probabilities are right, as in `benchmarks.coverage`; models differ by noise of their
own, as large as makes exactly one of two right on the stated share of faces. Statistics and rules are the gate's.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import pandas as pd
from scipy.optimize import brentq

from benchmarks.coverage import SHARED, SHARES
from mien.evaluation.intervals import Interval
from mien.evaluation.measures import Floats
from mien.registry.evidence import TestSet, accuracy_change, difference
from mien.registry.gate import PROMOTED, RegisterConfig, Scores, Spent, decide, place_of
from mien.runtime.session import softmax

SKILL: Final = 1.7  # of the champion: how far a face's logit of its class is raised; two faces in three are right
GAIN: Final = 0.03
DISAGREE: Final = (0.20, 0.25)
RULES: Final = ("accuracy", "recall", "calibration")  # which of the gate's rules was the first to keep a candidate out
CASES: Final = {"no gain": None, "first": 0, "tenth": 9}  # which of the ten is better


def draw(faces: int, alike: float, skills: list[float], seed: int) -> tuple[pd.DataFrame, list[Floats]]:
    """Faces in groups of 1.4 on average, and each model's probabilities (N, classes), whose errors so resemble."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(faces), 1 + generator.poisson(0.4, faces))[:faces]
    labels = generator.choice(len(SHARES), faces, p=SHARES)
    labels = np.where(generator.uniform(size=faces) < SHARED, labels[np.searchsorted(groups, groups)], labels)

    def noise() -> Floats:
        of_group, own = (generator.normal(size=(faces, len(SHARES))) for _ in range(2))
        return np.asarray(np.sqrt(SHARED) * of_group[groups] + np.sqrt(1 - SHARED) * own)

    shared, raised = noise(), np.eye(len(SHARES))[labels]
    seen = [np.sqrt(alike) * shared + np.sqrt(1 - alike) * noise() for _ in skills]
    logits = [skill * (skill * raised + one) + np.log(SHARES) for skill, one in zip(skills, seen, strict=True)]
    index = pd.DataFrame({"label": labels, "group": groups, "photo_digest": groups})
    return index, [softmax(one) for one in logits]


def _right(alike: float, skill: float) -> tuple[Floats, Floats]:
    """On which of 400,000 faces the champion is right, and a model of this skill."""
    index, answers = draw(400_000, alike, [SKILL, skill], 10**6)
    first, second = (one.argmax(axis=1) == index["label"].to_numpy() for one in answers)
    return first, second


@cache
def better() -> float:
    """The skill of a model that is GAIN better than the champion."""

    def lacks(skill: float) -> float:
        first, second = _right(1, skill)  # alike, so that chance moves the difference least
        return float(second.mean() - first.mean() - GAIN)

    return float(brentq(lacks, SKILL, SKILL + 0.5, xtol=1e-4))


@cache
def alike_at(disagree: float) -> float:
    """How alike errors are where exactly one of the champion and a model that is GAIN better is right so often."""
    return float(brentq(lambda alike: np.not_equal(*_right(alike, better())).mean() - disagree, 0, 0.999, xtol=1e-3))


def campaign(faces: int, disagree: float, better_one: int | None, seed: int, rules: RegisterConfig) -> Iterator[str]:
    """What becomes of each of ten candidates, up to the better one: PROMOTED, or which of RULES kept it out."""
    last = 10 if better_one is None else better_one + 1
    skills = [better() if k == better_one else SKILL for k in range(-1, last)]
    index, (champion, *candidates) = draw(faces, alike_at(disagree), skills, seed)
    unknown = Interval(float("nan"))
    scores = Scores(faces, index["group"].nunique(), 0, unknown, unknown, unknown)
    spent: dict[str, Spent | None] = {}
    for k, answers in enumerate(candidates):
        test, place = TestSet(index, answers), place_of(spent, str(k), rules)
        spent[str(k)] = place[0], rules.level
        if not accuracy_change(test, champion, rules.level).low > 0:  # spares the bootstrap
            yield "accuracy"
            continue
        change = difference(test, champion, rules)
        if decide(scores, change, rules, place).outcome == PROMOTED:
            champion = answers
            yield PROMOTED
        else:
            yield "recall" if change["unweighted_average_recall"].value < 0 else "calibration"


def simulate(faces: int, disagree: float, case: str, campaigns: int, rules: RegisterConfig) -> dict[str, float]:
    """Percentages of campaigns: without a gain those that promote anything; else what becomes of the better one."""
    found: Counter[str] = Counter()
    for seed in range(campaigns):
        better_one = CASES[case]
        outcomes = list(campaign(faces, disagree, better_one, seed, rules))
        if better_one is None:
            found[PROMOTED if PROMOTED in outcomes else "accuracy"] += 1
        else:
            found[outcomes[better_one]] += 1
    return {outcome: 100 * found[outcome] / campaigns for outcome in (PROMOTED, *RULES)}


def main() -> None:
    """Print a row of the table for each cell, as it is done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--campaigns", type=int, default=1000)
    parser.add_argument("--faces", type=int, nargs="+", default=[200, 3589])
    given = parser.parse_args()
    rules = RegisterConfig(bootstrap=500)  # of the calibration rule alone
    head = ["faces", "disagreeing, %", "three points better", "promoted, %", *(f"kept out by {r}, %" for r in RULES)]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for faces in given.faces:
        for disagree in DISAGREE:
            for case in CASES:
                shares = simulate(faces, disagree, case, given.campaigns, rules)
                cells = [f"{faces:,}", f"{100 * disagree:g}", case, *(f"{share:.1f}" for share in shares.values())]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
