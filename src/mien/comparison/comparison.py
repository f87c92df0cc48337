"""All that is said about two runs, in one object, and as JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from mien.comparison.config import Difference, config_differences, fact_differences
from mien.comparison.paired import LOWER_IS_BETTER, MEASURES, Paired, compare_paired, why_not_paired
from mien.comparison.subject import Subject
from mien.errors import UserError
from mien.evaluation.bootstrap import Interval

NO_FACE_LEFT = "Every test face has a copy among the faces that A or B learnt from."


@dataclass(frozen=True)
class Comparison:
    """Two runs and what tells them apart; `paired` is None where `unpaired` says why it cannot be."""

    a: Subject
    b: Subject
    paired: Paired | None
    unpaired: str
    config: list[Difference]
    facts: list[Difference]

    def verdict(self, name: str) -> str:
        """What the paired difference of a measure shows: "A", "B", or "" where it may be luck."""
        if self.paired is None or not (difference := self.paired.differences[name]).known:
            return ""
        if difference.low <= 0 <= difference.high:
            return ""
        return "B" if (difference.value > 0) != (name in LOWER_IS_BETTER) else "A"

    @property
    def sentence(self) -> str:
        """The one thing to know, about accuracy."""
        if self.paired is None:
            return f"There is no paired test of the two. {self.unpaired}"
        difference = self.paired.differences["accuracy"]
        if not difference.known:
            return "One photo does not show which of the two is more accurate."
        ends = f"{_points(difference.low)} to {_points(difference.high)}"
        span = f"{_points(difference.value)} points, 95\N{NO-BREAK SPACE}% interval {ends}"
        better = self.verdict("accuracy")
        if better:
            return f"{better} is more accurate beyond the luck of the draw: B differs from A by {span}."
        return f"Neither is shown to be more accurate: B differs from A by {span}, which includes no difference."


def compare(a: Subject, b: Subject) -> Comparison:
    """Two runs; the paired test only where both were tested on the same faces.

    Raises:
        UserError: the two are one.
    """
    if a.key == b.key:
        raise UserError(f"A and B are both {a.source} ({a.name}); name two runs.")
    reason = why_not_paired(a, b)
    paired = None if reason else compare_paired(a, b)
    unpaired = reason or ("" if paired else NO_FACE_LEFT)
    return Comparison(a, b, paired, unpaired, config_differences(a, b), fact_differences(a, b))


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison without its pictures and curves; a number that does not exist is null."""
    paired = comparison.paired
    return {
        **{side: _side(getattr(comparison, side)) for side in ("a", "b")},
        "verdict": comparison.sentence,
        "unpaired": comparison.unpaired or None,
        "paired": paired
        and {
            "faces": paired.faces,
            "groups": paired.groups,
            "left_out": paired.left_out,
            "differences": {name: _interval(one) for name, one in paired.differences.items()},
            "recall_differences": {name: _interval(one) for name, one in paired.recalls.items()},
            "mcnemar": asdict(paired.mcnemar),
            "disagreements": paired.disagreements.to_dict("records"),
        },
        "config": [{"key": key, "a": a, "b": b} for key, a, b in comparison.config],
        "facts": [{"what": what, "a": a, "b": b} for what, a, b in comparison.facts],
    }


def _side(one: Subject) -> dict[str, Any]:
    measures = {name: _interval(one.measure(name)) for name in MEASURES}
    return {"name": one.name, "source": one.source, "data": one.data, "faces": len(one.predictions), **measures}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in asdict(interval).items()}


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"
