"""The comparison as one HTML file, in the report's style, that asks the network for nothing."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mien.evaluation.intervals import Interval
from mien.reporting import evaluation_page as report
from mien.reporting.comparison import LOWER_IS_BETTER, MEASURES, Comparison, curves_figure
from mien.reporting.style import DARK, LIGHT

SHOWN: Final = 24  # faces of each kind of disagreement
TITLES: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "unweighted_average_recall": "unweighted average recall",
    "ece": "calibration error (ECE)",
    "nll": "log loss (NLL), nats",
    "brier": "Brier score, 0 to 2",
}
KINDS: Final = {"b": "Only B is right", "a": "Only A is right", "none": "Both are wrong, each in its way"}


def render_page(comparison: Comparison, pictures: Mapping[str, str]) -> str:
    """The HTML; `pictures` are faces by face_id (see `faces.face_pictures`), of which some or all may be missing."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": report.number,
        "between": report.between,
        "signed": signed,
        "signed_between": signed_between,
    }
    return environment.get_template("comparison.html").render(
        c=comparison,
        sides=(("A", comparison.a), ("B", comparison.b)),
        measures=MEASURES,
        lower=LOWER_IS_BETTER,
        titles=TITLES,
        recalls=recalls(comparison),
        kinds=disagreements(comparison),
        pictures=pictures,
        shown=SHOWN,
        curves=_curves(comparison),
    )


def shown_faces(comparison: Comparison) -> list[str]:
    """The face_id of each face that the page shows."""
    return [face["face_id"] for _, faces, _ in disagreements(comparison) for face in faces]


def disagreements(comparison: Comparison) -> list[tuple[str, list[dict[Hashable, Any]], int]]:
    """Each kind of disagreement: its title, the surest of its faces, and how many there are."""
    table = pd.DataFrame() if comparison.paired is None else comparison.paired.disagreements
    if table.empty:
        return []
    kinds = ((title, table[table["right"] == kind]) for kind, title in KINDS.items())
    return [(title, rows.head(SHOWN).to_dict("records"), len(rows)) for title, rows in kinds if len(rows)]


def recalls(comparison: Comparison) -> dict[str, tuple[float, float, int]]:
    """Recall of A and of B on its own test set, and A's faces, of each expression that both tracked."""
    found = {}
    for name in comparison.a.classes:
        a, b = (one.metrics.get(f"test/per_class/{name}/recall") for one in (comparison.a, comparison.b))
        support = comparison.a.metrics.get(f"test/per_class/{name}/support", 0.0)
        if a is not None and b is not None:
            found[name] = (a, b, int(support))
    return found


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign; a dash where there is none."""
    return report.number(value, digits) if value != value else f"{value:+.{digits}f}"


def signed_between(interval: Interval) -> str:
    """The ends of a difference's interval, with their signs."""
    return f"{signed(interval.low)} to {signed(interval.high)}" if interval.known else "no interval"


def _curves(comparison: Comparison) -> Markup | None:
    light, dark = (curves_figure(comparison.a, comparison.b, theme) for theme in (LIGHT, DARK))
    if light is None or dark is None:
        return None
    return report.picture(light, dark, "Loss and validation accuracy of both runs by epoch")
