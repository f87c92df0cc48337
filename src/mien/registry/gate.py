"""Promotion gate: the rules by which a candidate becomes champion. Pure: numbers in, a decision with reasons out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Le

from mien.base.settings import STRICT, AtLeastOne, Seed

if TYPE_CHECKING:
    from mien.evaluation.intervals import Interval


@dataclass(frozen=True)
class RegisterConfig:
    """The gate that a candidate passes to become champion."""

    __pydantic_config__ = STRICT

    approve: Literal["auto", "manual"] = "auto"  # auto: the gate promotes; manual: a person does
    alpha: Annotated[float, Gt(0), Le(0.5)] = 0.05  # one-sided level of the paired tests
    bootstrap: Annotated[int, Ge(100)] = 2000  # resamples of groups
    seed: Seed = 42
    # debiased calibration error, with the temperature, that a first champion may have
    max_ece: Annotated[float, Gt(0), Le(1)] = 0.25
    threads: AtLeastOne = 2  # of onnxruntime, which scores the champion on the CPU; no part of the rules


PROMOTED: Final = "promoted"
CHALLENGER: Final = "challenger"  # lost the test, or waits for a person
REFUSED: Final = "refused"  # could not be compared honestly
CANDIDATE: Final = "candidate"  # registered by an experiment, which decides nothing
UNCHANGED: Final = "unchanged"  # the champion itself
UNREGISTERED: Final = "not registered"  # the registry gave no answer


@dataclass(frozen=True)
class Scores:
    """A model on the test set; intervals at level 1 - 2 alpha, so that each end is a one-sided bound."""

    n: int
    photos: int
    majority_share: float
    accuracy: "Interval"
    unweighted_average_recall: "Interval"
    calibration_error: "Interval"


@dataclass(frozen=True)
class Decision:
    """What becomes of a candidate, why, and the numbers behind it."""

    outcome: str
    reasons: list[str]
    numbers: dict[str, Any] = field(default_factory=dict)


def decide(candidate: Scores, difference: Mapping[str, "Interval"] | None, settings: RegisterConfig) -> Decision:
    """Promote the candidate or leave it challenger.

    Without a champion it must beat the share of the largest class and be calibrated. Against one, the lower
    bound of the paired difference in accuracy must be above 0, the unweighted average recall must not be
    lower, and the calibration error must not be higher beyond noise.

    Args:
        candidate: its scores.
        difference: candidate minus champion from a paired `bootstrap`, at level 1 - 2 alpha; None without a champion.
        settings: alpha, max_ece and approve.
    """
    if difference is None:
        passed, reasons = _first(candidate, settings)
    else:
        passed, reasons = _against(candidate, difference, settings)
    if passed and settings.approve == "manual":
        passed = False
        reasons.append(
            "The gate would promote it, and approve is manual: a person decides, "
            "with `mien promote` or in the MLflow UI."
        )
    return Decision(PROMOTED if passed else CHALLENGER, reasons)


def _first(candidate: Scores, settings: RegisterConfig) -> tuple[bool, list[str]]:
    """Whether a first champion is good enough, and why."""
    accuracy, error, share = candidate.accuracy, candidate.calibration_error, candidate.majority_share
    better, calibrated = accuracy.low > share, error.value <= settings.max_ece
    return better and calibrated, [
        f"There was no champion; tested on {candidate.n} faces of {candidate.photos} photos.",
        f"Accuracy {accuracy.value:.3f}, at least {accuracy.low:.3f} with {_level(settings)} confidence: "
        f"{'above' if better else 'not above'} the largest class's share of {share:.3f}.",
        f"Calibration error {error.value:.3f}: {'within' if calibrated else 'above'} max_ece of {settings.max_ece:g}.",
    ]


def _against(
    candidate: Scores, difference: Mapping[str, "Interval"], settings: RegisterConfig
) -> tuple[bool, list[str]]:
    """Whether the candidate is better than the champion, and why."""
    accuracy, recall = difference["accuracy"], difference["unweighted_average_recall"]
    error, confidence = difference["calibration_error"], f"with {_level(settings)} confidence"
    better, no_worse, calibrated = accuracy.low > 0, recall.value >= 0, not error.low > 0
    return better and no_worse and calibrated, [
        f"Compared with the champion on the same {candidate.n} faces of {candidate.photos} photos.",
        f"Accuracy changes by {_points(accuracy.value)}, at least {_points(accuracy.low)} {confidence}: "
        f"{'it is better' if better else 'it may not be better'}.",
        f"Unweighted average recall changes by {_points(recall.value)}: {'not worse' if no_worse else 'worse'}.",
        f"Calibration error changes by {_points(error.value)}, at least {_points(error.low)} {confidence}: "
        f"{'not worse' if calibrated else 'worse'} beyond noise.",
    ]


def _level(settings: RegisterConfig) -> str:
    return f"{100 * (1 - settings.alpha):g} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points" if math.isfinite(difference) else "an unknown amount"
