"""The gate's rules, number by number."""

import dataclasses

import pytest

from mien.evaluation.intervals import Interval
from mien.registry.gate import CHALLENGER, PROMOTED, RegisterConfig, Scores, decide

GOOD = Scores(
    n=200,
    photos=150,
    majority_share=0.2,
    accuracy=Interval(0.6, 0.55, 0.65),
    unweighted_average_recall=Interval(0.58, 0.5, 0.66),
    ece=Interval(0.05, 0.02, 0.09),
)
BETTER = {
    "accuracy": Interval(0.05, 0.01, 0.09),
    "unweighted_average_recall": Interval(0.04, -0.01, 0.09),
    "ece": Interval(0.0, -0.02, 0.02),
}
RULES = RegisterConfig()


def test_first_champion_beats_the_majority_and_is_calibrated() -> None:
    assert decide(GOOD, None, RULES).outcome == PROMOTED


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (dataclasses.replace(GOOD, accuracy=Interval(0.3, 0.2, 0.4)), "not above the largest class's share of 0.200"),
        (dataclasses.replace(GOOD, accuracy=Interval(0.6, float("nan"), float("nan"))), "not above"),
        (dataclasses.replace(GOOD, ece=Interval(0.26, 0.2, 0.3)), "0.260: above max_ece of 0.25"),
    ],
)
def test_first_champion_is_not_taken_on_trust(scores: Scores, words: str) -> None:
    decision = decide(scores, None, RULES)
    assert decision.outcome == CHALLENGER
    assert words in " ".join(decision.reasons)


def test_a_better_candidate_is_promoted_with_the_numbers_in_its_reasons() -> None:
    decision = decide(GOOD, BETTER, RULES)
    assert decision.outcome == PROMOTED
    assert "+5.0 points (+1.0 to +9.0)" in " ".join(decision.reasons)
    assert "200 faces of 150 photos" in " ".join(decision.reasons)


@pytest.mark.parametrize(
    ("measure", "interval", "words"),
    [
        ("accuracy", Interval(0.05, -0.001, 0.1), "may not be better"),
        ("accuracy", Interval(0.0, 0.0, 0.0), "may not be better"),
        ("accuracy", Interval(float("nan")), "may not be better"),
        ("unweighted_average_recall", Interval(-0.001, -0.05, 0.05), "recall changes by -0.1"),
        ("ece", Interval(0.03, 0.01, 0.05), "worse beyond noise"),
    ],
)
def test_each_rule_alone_keeps_a_candidate_out(measure: str, interval: Interval, words: str) -> None:
    decision = decide(GOOD, {**BETTER, measure: interval}, RULES)
    assert decision.outcome == CHALLENGER
    assert words in " ".join(decision.reasons)


def test_calibration_may_be_worse_within_noise() -> None:
    within = {**BETTER, "ece": Interval(0.02, -0.001, 0.05)}
    assert decide(GOOD, within, RULES).outcome == PROMOTED


def test_manual_approval_leaves_the_last_word_to_a_person() -> None:
    decision = decide(GOOD, BETTER, RegisterConfig(approve="manual"))
    assert decision.outcome == CHALLENGER
    assert "approve is manual" in decision.reasons[-1]
    lost = decide(GOOD, {**BETTER, "accuracy": Interval(-0.1, -0.2, 0.0)}, RegisterConfig(approve="manual"))
    assert "approve is manual" not in " ".join(lost.reasons)
