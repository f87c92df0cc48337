"""Model card in Markdown (Mitchell et al., 2019).

It is a function of the training's files and reports: no times, machines or version numbers, so that the same model has
the same card wherever it is registered. The words are in `card.md.j2`.
"""

from pathlib import Path
from typing import Any, Final

from mien.base.records import read_record, rerun
from mien.evaluation.scoring import Evaluation
from mien.evaluation.slices import Slices
from mien.evaluation.tables import read_evaluation
from mien.models.description import hardware_words
from mien.registry.version import Candidate

TEMPLATE: Final = "card.md.j2"


def write_card(candidate: Candidate, predictions: Path) -> str:
    """The card of a candidate; the audit of its split lies beside its `predictions`. A UserError for a damaged file."""
    file = predictions.with_name("split.json")
    audit = read_record(file, {"parts": dict}, rerun("split")) if file.exists() else None
    return render_card(candidate, read_evaluation(candidate.evaluated, predictions), audit)


def render_card(candidate: Candidate, evaluation: Evaluation, audit: dict[str, Any] | None) -> str:
    """The card as Markdown; `audit` is what `reports/split.json` holds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # where a card is written, and only there

    templates = Environment(  # nothing is escaped: Markdown is filled in with mien's own words and names
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return templates.get_template(TEMPLATE).render(
        **vars(evaluation),
        candidate=candidate,
        lineage=candidate.lineage,
        spec=candidate.spec,
        failures=failures(evaluation.slices),
        audit=audit,
        trained_on=hardware_words(candidate.lineage),
    )


def failures(slices: Slices) -> list[str]:
    """The worst class, face size and detector confidence, each as a sentence, and what the faces are too few for."""
    sentences = []
    for group in dict.fromkeys(part.group for part in slices.slices):
        parts = [part for part in slices.slices if part.group == group and not part.too_few]
        if len(parts) > 1:  # one alone is the worst of nothing
            worst = min(parts, key=lambda part: part.accuracy.value)
            right = f"{worst.accuracy.percent()} right of {worst.faces:,} faces"
            sentences.append(f"Worst {group}: {worst.name}, {right}.")
    if few := [f"{part.group} {part.name}" for part in slices.slices if part.too_few]:
        sentences.append(f"Under 20 test faces, too few for a result: {'; '.join(few)}.")
    return [*sentences, *(f"No results by {group}: {why}." for group, why in slices.skipped.items())]
