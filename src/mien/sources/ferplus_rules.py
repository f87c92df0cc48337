"""FER+'s rules: which votes count, and which faces are left out.

They are those of the set's own reader (github.com/microsoft/FERPlus, `src/ferplus.py`), which go beyond the paper: a
single vote never counts, and "unknown" and "NF" (not a face) take part in the vote.
"""

from collections.abc import Sequence
from typing import Final

from mien.sources.bad_row import BadRow

MODES: Final = ("majority", "cross_entropy", "multi_target")
SOFT_MODES: Final = ("cross_entropy", "multi_target")
N_EMOTIONS: Final = 8
NO_EMOTION: Final = ("unknown", "NF")
LEAST_SHARE: Final = 0.5  # of all votes that count; what was taken must hold more
ENOUGH_SHARE: Final = 0.75  # at which no further emotion is taken
MOST_EMOTIONS: Final = 3
TARGET_SHARE: Final = 0.3  # from which an emotion is one of several targets


def agreed_votes(votes: Sequence[int], mode: str) -> list[int]:
    """The votes for the eight emotions that count as a face's label, in FER+'s order of columns; others are 0.

    `majority`: the emotion with more than half of the votes. `cross_entropy` (and the paper's `probability`, which
    draws from the same shares): the most voted emotions until they hold three quarters, at most three.
    `multi_target`: every emotion with 30 % of the votes.

    Args:
        votes: ten counts: eight emotions, unknown, NF.
        mode: one of MODES.

    Raises:
        BadRow: FER+ leaves the face out: `no_agreement`, `voted_unknown` or `voted_no_face`.
    """
    counted = [count if count > 1 else 0 for count in votes]
    rule = {"majority": _majority, "cross_entropy": _most_voted, "multi_target": _targets}[mode]
    taken = rule(counted)
    if sum(taken) <= LEAST_SHARE * sum(counted) or sum(count > 0 for count in taken) > MOST_EMOTIONS:
        raise BadRow("no_agreement", f"the votes {' '.join(map(str, votes))} do not agree ({mode})")
    first = taken.index(max(taken))
    if first >= N_EMOTIONS:
        reason = ("voted_unknown", "voted_no_face")[first - N_EMOTIONS]
        raise BadRow(reason, f"{counted[first]} of {sum(votes)} votes for {NO_EMOTION[first - N_EMOTIONS]!r}")
    return taken[:N_EMOTIONS]


def _majority(counted: list[int]) -> list[int]:
    winner = counted.index(max(counted))
    return [count if i == winner else 0 for i, count in enumerate(counted)]


def _most_voted(counted: list[int]) -> list[int]:
    """Count by count, from the highest, every emotion that has it; unknown or NF ends it, and counts only if first."""
    taken = [0] * len(counted)
    for level in sorted({count for count in counted if count}, reverse=True):
        if sum(taken) >= ENOUGH_SHARE * sum(counted) or sum(count > 0 for count in taken) >= MOST_EMOTIONS:
            break
        equals = [i for i, count in enumerate(counted) if count == level]
        for i in equals:
            if i < N_EMOTIONS or not any(taken):
                taken[i] = level
            if i >= N_EMOTIONS:
                return taken
    return taken


def _targets(counted: list[int]) -> list[int]:
    return [count if count >= TARGET_SHARE * sum(counted) else 0 for count in counted]
