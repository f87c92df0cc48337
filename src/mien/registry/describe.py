"""The words beside models and versions in the MLflow UI, as Markdown."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mien.tracking.notes import interval_words

if TYPE_CHECKING:
    from mien.registry.gate import Decision

HISTORY: Final = "History"
ROWS: Final = 8
UNMOVED: Final = ("challenger", "refused")


def model_text(name: str, lineage: Mapping[str, Any]) -> str:
    """What a registered model is, and how it is loaded."""
    drawn = " Its faces are drawn: it shows that the machinery works, and knows nothing of people."
    title = lineage.get("title", lineage["data"])
    return (
        f"Facial expressions, learnt from {title}.{drawn if lineage.get('drawn') else ''} "
        "A photo of one face in; a label and seven calibrated probabilities out.\n\n"
        f'Use `mlflow.pyfunc.load_model("models:/{name}@champion")`. The version with the alias `champion` is the one '
        "to use; `challenger` was not promoted; `previous` is what `mien rollback` brings back. `mien card` shows its "
        "numbers, where it fails, and what it must not be used for: inferring emotions at work or in education is "
        "prohibited in the EU (AI Act, Article 5(1)(f))."
    )


def history_text(events: Iterable[Mapping[str, Any]]) -> str:
    """The newest events as a table, newest first; below it on MLflow's page stand the versions."""
    newest = list(reversed(list(events)))
    rows = [
        f"| {event['at'][:16].replace('T', ' ')} | {event['action']} | {event['version'] or ''} | "
        f"{event['from_version'] or ''} | {event['by']} | {_why(event)} |"
        for event in newest[:ROWS]
    ]
    more = [f"\n{len(newest) - ROWS} earlier ones: `mien history`."] if len(newest) > ROWS else []
    head = ["| UTC | what | version | champion before | by | why |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows, *more])


def version_text(name: str, version: int, run: str, decision: "Decision") -> str:
    """What a version is and what the gate said of it; a list of versions shows the first words, without Markdown."""
    candidate = decision.numbers.get("candidate")
    accuracy = f"Accuracy {interval_words(candidate['accuracy'])}: " if candidate else ""
    level = f" ({100 * decision.numbers['level']:g} % interval)" if candidate else ""
    head = f"{accuracy}{decision.outcome} by the gate{level}"
    card = f"Model card: `mien card models:/{name}/{version}`, or `artifacts/model/card.md` of the logged model."
    return "\n".join([f"{head}\n", *(f"- {reason}" for reason in decision.reasons), f"\n{card}\n\nRun: {run}."])


def _why(event: Mapping[str, Any]) -> str:
    """What moved the champion; why a candidate did not is told beside its version."""
    return "see the version" if event["action"] in UNMOVED else _cell(event["reasons"])


def _cell(reasons: Iterable[str]) -> str:
    return " ".join(reasons).replace("|", "\\|").replace("\n", " ")
