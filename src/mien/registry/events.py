"""The registry's own history of a model, kept in append-only tags that no alias moved by hand can change."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mien.errors import UserError
from mien.registry.describe import HISTORY, history_text
from mien.tracking.notes import with_section

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

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
