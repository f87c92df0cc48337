"""The words beside models and versions in the MLflow UI, as Markdown."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mien.tracking.notes import interval_words

if TYPE_CHECKING:
    from mien.registry.gate import Decision

HISTORY: Final = "History"


def model_text(name: str, lineage: Mapping[str, Any]) -> str:
    """What a registered model is, and how it is loaded."""
    drawn = " Its faces are drawn: it shows that the machinery works, and knows nothing of people."
    return (
        f"Facial expressions, learnt from {lineage['title']}.{drawn if lineage.get('drawn') else ''} "
        "A photo of one face in; a label and seven calibrated probabilities out.\n\n"
        f'Use `mlflow.pyfunc.load_model("models:/{name}@champion")`. The version with the alias `champion` is the one '
        "to use; `challenger` was not promoted; `previous` is what `mien rollback` brings back."
    )


def history_text(events: Iterable[Mapping[str, Any]]) -> str:
    """The events as a table, newest first."""
    rows = [
        f"| {event['at'][:16].replace('T', ' ')} | {event['action']} | {event['version'] or ''} | "
        f"{event['from_version'] or ''} | {event['by']} | {_cell(event['reasons'])} |"
        for event in reversed(list(events))
    ]
    return "\n".join(["| UTC | what | version | champion before | by | why |", "|---|---|---|---|---|---|", *rows])


def version_text(run: str, decision: "Decision") -> str:
    """What a version is and what the gate said of it; the first words are all that a list of versions shows."""
    candidate = decision.numbers.get("candidate")
    accuracy = f": accuracy {interval_words(candidate['accuracy'])}" if candidate else ""
    level = f", {100 * decision.numbers['level']:g} % interval" if candidate else ""
    head = f"**{decision.outcome}** by the gate{accuracy}{level}"
    return "\n".join([f"{head}\n", *(f"- {reason}" for reason in decision.reasons), f"\nRun: {run}."])


def _cell(reasons: Iterable[str]) -> str:
    return " ".join(reasons).replace("|", "\\|").replace("\n", " ")
