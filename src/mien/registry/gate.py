"""Promotion gate: the rules by which a candidate becomes champion. Pure: numbers in, a decision with reasons out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Gt, Le, Lt

from mien.base.classes import ALWAYS_SLICED
from mien.base.errors import UserError
from mien.base.settings import STRICT, AtLeastOne, Seed, near_name
from mien.evaluation.intervals import Interval


@dataclass(frozen=True)
class NoGroupWorse:
    """A slice of whose groups none may lose more accuracy than `margin`."""

    __pydantic_config__ = STRICT

    slice: str  # a column of `slices` in conf/data, or class, face size or detector confidence
    margin: Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class RegisterConfig:
    """The gate that a candidate passes to become champion."""

    __pydantic_config__ = STRICT

    approve: Literal["auto", "manual"] = "auto"  # auto: the gate promotes; manual: a person does
    alpha: Annotated[float, Gt(0), Le(0.5)] = 0.05  # one-sided: how often chance may promote anything on a test set
    decisions: AtLeastOne = 10  # comparisons with a champion on one test set, which share alpha
    bootstrap: Annotated[int, Ge(100)] = 2000  # resamples of groups
    seed: Seed = 42  # of the resamples
    # debiased calibration error, with the temperature, that a first champion may have
    max_ece: Annotated[float, Gt(0), Le(1)] = 0.25
    no_group_worse: NoGroupWorse | None = None  # slice and margin by which no group may lose accuracy
    threads: AtLeastOne = 2  # of onnxruntime, which scores the champion on the CPU; no part of the rules

    @property
    def level(self) -> float:
        """The one-sided level of the test by which one decision promotes."""
        return self.alpha / self.decisions


PROMOTED: Final = "promoted"
CHALLENGER: Final = "challenger"  # lost the test, or waits for a person
REFUSED: Final = "refused"  # could not be compared honestly
CANDIDATE: Final = "candidate"  # registered by an experiment, which decides nothing
UNCHANGED: Final = "unchanged"  # the champion itself
UNREGISTERED: Final = "not registered"  # the registry gave no answer

Spent = tuple[int, float]  # number and level of a decision


@dataclass(frozen=True)
class Scores:
    """A model on the test set; intervals at level 1 - 2 alpha, so that each end is a one-sided bound."""

    n: int
    photos: int
    majority_share: float
    accuracy: Interval
    unweighted_average_recall: Interval
    calibration_error: Interval


@dataclass(frozen=True)
class Decision:
    """What becomes of a candidate, why, and the numbers behind it."""

    outcome: str
    reasons: list[str]
    numbers: dict[str, Any] = field(default_factory=dict)


def place_of(looks: Mapping[str, Spent | None], identity: str, settings: RegisterConfig) -> tuple[int, int]:
    """Which of the decisions on a test set a model's is, and of how many; above those where the budget is spent.

    Each comparison with a champion spends the level of its test, so that together they promote by chance with a
    probability of at most alpha (Bonferroni). A model that is compared again, as under other rules, spends once.
    """
    others = [spent[1] for model, spent in looks.items() if spent and model != identity]
    more = math.floor((settings.alpha - sum(others)) / settings.level + 1e-6)
    own = looks.get(identity) or (len(others) + 1, 0.0)
    return (own[0] if more > 0 else len(others) + 1), len(others) + max(0, more)


def check_slice(settings: RegisterConfig, columns: Sequence[str]) -> None:
    """Raise a UserError for a `no_group_worse` whose slice is neither of every data set nor one of its `columns`."""
    known = [*ALWAYS_SLICED, *columns]
    if settings.no_group_worse and (name := settings.no_group_worse.slice) not in known:
        raise UserError(
            f"no_group_worse in conf/register: {name!r} is no slice{near_name(name, known)}; there are "
            f"{', '.join(known)}, and `slices` in conf/data adds columns of the data set."
        )


def decide(
    candidate: Scores,
    difference: Mapping[str, Interval] | None,
    settings: RegisterConfig,
    place: tuple[int, int] = (1, 1),
    groups: Mapping[str, Interval] | None = None,
) -> Decision:
    """Promote the candidate or leave it challenger.

    Without a champion it must beat the share of the largest class and be calibrated. Against one, the lower
    bound of the paired difference in accuracy must be above 0, the unweighted average recall must not be
    lower, the calibration error must not be higher beyond noise, and nor must a group lose more than
    `no_group_worse` allows. Once the test set's decisions are spent nothing is promoted.

    `difference` is candidate minus champion, None without one: the accuracy at level 1 - 2 * alpha / decisions, the
    rest at 1 - 2 alpha. `place` is what `place_of` gives, `groups` the change of accuracy by group of the slice of
    `no_group_worse`, without an interval where the group is too small.
    """
    if difference is None:
        passed, reasons = _first(candidate, settings)
    else:
        rules = (_against(candidate, difference, settings), _groups(groups or {}, settings), _budget(place, settings))
        passed, reasons = all(held for held, _ in rules), [reason for _, given in rules for reason in given]
    if passed and settings.approve == "manual":
        passed = False
        how = "with `mien promote` or in the MLflow UI"
        reasons.append(f"The gate would promote it, and approve is manual: a person decides, {how}.")
    return Decision(PROMOTED if passed else CHALLENGER, reasons)


def _first(candidate: Scores, settings: RegisterConfig) -> tuple[bool, list[str]]:
    """Whether a first champion is good enough, and why."""
    accuracy, error, share = candidate.accuracy, candidate.calibration_error, candidate.majority_share
    better, calibrated = accuracy.low > share, error.value <= settings.max_ece
    return better and calibrated, [
        f"There was no champion; tested on {candidate.n} faces of {candidate.photos} photos.",
        f"Accuracy {accuracy.value:.3f}, at least {accuracy.low:.3f} with {_confidence(settings.alpha)}: "
        f"{'above' if better else 'not above'} the largest class's share of {share:.3f}.",
        f"Calibration error {error.value:.3f}: {'within' if calibrated else 'above'} max_ece of {settings.max_ece:g}.",
    ]


def _against(candidate: Scores, difference: Mapping[str, Interval], settings: RegisterConfig) -> tuple[bool, list[str]]:
    """Whether the candidate is better than the champion, and why."""
    accuracy, recall = difference["accuracy"], difference["unweighted_average_recall"]
    error = difference["calibration_error"]
    better, no_worse, calibrated = accuracy.low > 0, recall.value >= 0, not error.low > 0
    return better and no_worse and calibrated, [
        f"Compared with the champion on the same {candidate.n} faces of {candidate.photos} photos.",
        f"Accuracy changes by {_at_least(accuracy, settings.level)}: "
        f"{'it is better' if better else 'it may not be better'}.",
        f"Unweighted average recall changes by {_points(recall.value)}: {'not worse' if no_worse else 'worse'}.",
        f"Calibration error changes by {_at_least(error, settings.alpha)}: "
        f"{'not worse' if calibrated else 'worse'} beyond noise.",
    ]


def _groups(groups: Mapping[str, Interval], settings: RegisterConfig) -> tuple[bool, list[str]]:
    """Whether no group lost more than `no_group_worse` allows, and which did."""
    if settings.no_group_worse is None:
        return True, []
    slice, margin = settings.no_group_worse.slice, settings.no_group_worse.margin
    judged = {name: change for name, change in groups.items() if change.known}
    if not judged:
        return True, [f"No group by {slice} has enough faces to be compared, so no_group_worse decides nothing."]
    worse = [name for name, change in judged.items() if change.value < -margin and change.high < 0]
    shown = worse or [min(judged, key=lambda name: judged[name].value)]
    changes = "; ".join(f"{name} {_points(judged[name].value)}" for name in shown)
    allowed = f"{100 * margin:g} points that no_group_worse allows by {slice}"
    reason = f"No group is worse beyond noise by more than the {allowed}; the lowest change: {changes}."
    if worse:
        reason = f"Worse beyond noise by more than the {allowed}: {changes}."
    few = "; ".join(name for name in groups if name not in judged)
    return not worse, [reason + (f" Too few faces to be compared: {few}." if few else "")]


def _budget(place: tuple[int, int], settings: RegisterConfig) -> tuple[bool, list[str]]:
    """Whether the test set still allows a decision, and which one this is."""
    number, allowed = place
    if number <= allowed:
        return True, [f"Decision {number} of {allowed} that this test set allows, at level {settings.level:g} each."]
    return False, [
        f"All decisions that this test set allows have been made ({allowed}), so the gate promotes nothing more by it: "
        "a person may promote with `mien promote`, or a new test set begins a new count."
    ]


def _confidence(level: float) -> str:
    return f"{100 * (1 - level):g} % confidence"


def _at_least(change: Interval, level: float) -> str:
    return f"{_points(change.value)}, at least {_points(change.low)} with {_confidence(level)}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f} points" if math.isfinite(difference) else "an unknown amount"
