"""The history of a registered model: events in tags, aliases and descriptions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.tracking.notes import interval_words, with_section

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

    from mien.registry.gate import Decision

IDENTITY: Final = "mien.identity"  # digest of weights, description, temperature and serving code
DECISION: Final = "mien.decision."  # + the decision's key: the gate's decision as JSON
DONE: Final = "mien.carried_out."  # + the decision's key, when aliases and history say the same


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


PREFIX: Final = "mien.event."
PENDING: Final = "mien.pending"  # a move that was begun
PROMOTED: Final = "promoted"
ROLLED_BACK: Final = "rolled back"
BY_HAND: Final = "moved by hand"
MOVES: Final = (PROMOTED, ROLLED_BACK, BY_HAND)  # what changes the champion

Event = dict[str, Any]  # at, action, version, from_version, by, reasons, decision


def read_model(client: "MlflowClient", name: str) -> "RegisteredModel":
    """The registered model with its tags and aliases.

    Raises:
        UserError: there is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(sorted(m.name for m in client.search_registered_models())) or "none"
        raise UserError(
            f"there is no registered model {name!r} (there are: {known}); `dvc repro` registers one per data set."
        ) from error


def events_of(model: "RegisteredModel") -> list[Event]:
    """The events in their order."""
    tags = sorted((key, value) for key, value in model.tags.items() if key.startswith(PREFIX))
    return [json.loads(value) for _, value in tags]


def new_event(
    action: str,
    version: int | None,
    from_version: int | None,
    *,
    by: str,
    reasons: Sequence[str],
    decision: str = "",
) -> Event:
    """An event of now; `decision` is the key of the gate's decision behind it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "action": action,
        "version": version,
        "from_version": from_version,
        "by": by,
        "reasons": list(reasons),
        "decision": decision,
    }


def append_event(client: "MlflowClient", name: str, event: Mapping[str, Any]) -> None:
    """Append an event, unless it stands there already; of two writers at once, both find room.

    Tags know no transactions: who finds another's event under his number takes the next one.
    """
    while True:
        events = {k: v for k, v in read_model(client, name).tags.items() if k.startswith(PREFIX)}
        text = json.dumps(event, sort_keys=True)
        if text in events.values():
            break
        number = 1 + max((int(key.removeprefix(PREFIX)) for key in events), default=0)
        client.set_registered_model_tag(name, f"{PREFIX}{number:04d}", text)
    _tell(client, name)


def _tell(client: "MlflowClient", name: str) -> None:
    """Show the history to people, in a section of the model's description."""
    model = read_model(client, name)
    before = model.description or ""
    after = with_section(before, HISTORY, history_text(events_of(model)))
    if after != before:
        client.update_registered_model(name, description=after)


def champions(events: Sequence[Event]) -> list[int | None]:
    """The champions of which each is above the one that a rollback would bring back; the last one reigns.

    None stands for a time without a champion. A rollback takes the last one off.
    """
    stack: list[int | None] = []
    for event in events:
        if event["action"] == ROLLED_BACK:
            while stack and stack[-1] != event["version"]:
                stack.pop()
        if event["action"] in MOVES and (not stack or stack[-1] != event["version"]):
            stack.append(event["version"])
    return stack


def reigning(events: Sequence[Event]) -> int | None:
    """The champion according to the history."""
    stack = champions(events)
    return stack[-1] if stack else None


def rolled_back(events: Sequence[Event], version: int) -> bool:
    """Whether a person took this version down, and none has put it up again since."""
    last = [e for e in events if e["action"] in MOVES and version in (e["version"], e["from_version"])]
    return bool(last) and last[-1]["action"] == ROLLED_BACK and last[-1]["from_version"] == version


ALIAS: Final = "mien.alias"
GONE: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # a version or run that a person deleted


def mark_runs(client: "MlflowClient", name: str, versions: Iterable[int | None]) -> None:
    """Let the runs of these versions say which aliases the versions carry now; what a person deleted is passed over."""
    from mlflow.exceptions import MlflowException

    for version in sorted({one for one in versions if one is not None}):
        try:
            _mark(client, name, version)
        except MlflowException as error:
            if error.error_code not in GONE:
                raise


def _mark(client: "MlflowClient", name: str, version: int) -> None:
    found = client.get_model_version(name, str(version))
    if not found.run_id:
        return
    aliases = ", ".join(sorted(found.aliases))
    said = client.get_run(found.run_id).data.tags.get(ALIAS, "")
    if aliases and aliases != said:
        client.set_tag(found.run_id, ALIAS, aliases)
    elif said and not aliases:
        client.delete_tag(found.run_id, ALIAS)
