"""Registry events: the history and decisions of a registered model in tags and descriptions."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.registry import gate
from mien.reporting.pages import note
from mien.tracking.runs import with_section
from mien.tracking.store import UNKNOWN

# MLflow takes two seconds to import, so the functions that need it import it.
if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

# Tags of a version; the decision's key follows.
DECISION: Final = "mien.decision."  # the gate's decision as JSON
DONE: Final = "mien.carried_out."  # set when aliases and history agree with the decision
# Tags of a registered model.
PREFIX: Final = "mien.event."  # + a number: an event as JSON
PENDING: Final = "mien.pending"  # a move that was begun
LOOK: Final = "mien.look."  # + test faces + a model: "measured", or "decision" with its number and level
ALIAS: Final = "mien.alias"  # tag of a run: the aliases of its version

ROLLED_BACK: Final = "rolled back"
BY_HAND: Final = "moved by hand"
MOVES: Final = (gate.PROMOTED, ROLLED_BACK, BY_HAND)  # what changes the champion
DESCRIPTIONS: Final = Path(__file__).with_name("descriptions.md.j2")
HISTORY: Final = "History"  # the section of a model's description
ROWS: Final = 8  # events in it

Event = dict[str, Any]  # at, action, version, from_version, identity, from_identity, by, reasons, decision


def read_model(client: "MlflowClient", name: str) -> "RegisteredModel":
    """The registered model with its tags and aliases; a UserError where there is none."""
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


def recorded(model: "RegisteredModel") -> list[Event]:
    """The events in their order."""
    tags = sorted((key, value) for key, value in model.tags.items() if key.startswith(PREFIX))
    return [json.loads(value) for _, value in tags]


def new_event(
    action: str,
    version: int | None,
    before: int | None,
    identities: Mapping[int, str],
    *,
    by: str,
    reasons: Sequence[str],
    decision: str = "",
) -> Event:
    """An event of now, `before` being the champion; the `identities` of versions stay known after these are deleted."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    which = {"version": version, "from_version": before}
    models = {"identity": identities.get(version or 0, ""), "from_identity": identities.get(before or 0, "")}
    return {"at": at, "action": action, **which, **models, "by": by, "reasons": list(reasons), "decision": decision}


def append_event(client: "MlflowClient", name: str, event: Mapping[str, Any]) -> None:
    """Append an event, unless it is there already, and show the history in the model's description."""
    model, text = read_model(client, name), json.dumps(event, sort_keys=True)
    events = {key: value for key, value in model.tags.items() if key.startswith(PREFIX)}
    if text not in events.values():
        number = 1 + max((int(key.removeprefix(PREFIX)) for key in events), default=0)
        client.set_registered_model_tag(name, f"{PREFIX}{number:04d}", text)
        model = read_model(client, name)
    before = model.description or ""
    after = with_section(before, HISTORY, described("history", recorded(model)[::-1], ROWS))
    if after != before:
        client.update_registered_model(name, description=after)


def champions(events: Sequence[Event]) -> list[int | None]:
    """The champions of which each is above the one that a rollback would bring back; the last one reigns.

    None stands for a time without a champion, as at the beginning. A rollback takes the last one off.
    """
    stack: list[int | None] = [None]
    for event in events:
        if event["action"] == ROLLED_BACK and event["version"] in stack:
            while stack[-1] != event["version"]:
                stack.pop()
        elif event["action"] in MOVES and stack[-1] != event["version"]:
            stack.append(event["version"])
    return stack


def taken_down(events: Sequence[Event]) -> set[str]:
    """The identities of the models that a person took down, by a rollback or in the MLflow UI, and none put up since.

    Deleting a champion's version alone takes no model down: that may be done to save room.
    """
    down, known, before = set[str](), dict[int | None, str](), champions([])
    for number, event in enumerate(events, start=1):
        identity, after = event.get("identity", ""), champions(events[:number])
        known.setdefault(event["version"], identity)
        if event["action"] in (ROLLED_BACK, BY_HAND):
            down |= {event.get("from_identity", ""), *(known[v] for v in before if v not in after)}
        if event["action"] in MOVES:
            down.discard(identity)
        before = after
    return down - {""}


def looks_of(model: "RegisteredModel", test_faces: str) -> dict[str, gate.Spent | None]:
    """The models that were measured on these test faces, and what the decision about each spent of their budget."""
    prefix = f"{LOOK}{test_faces}."
    looks = {key.removeprefix(prefix): text.split() for key, text in model.tags.items() if key.startswith(prefix)}
    return {
        identity: (int(words[1]), float(words[2])) if words[0] == "decision" else None
        for identity, words in looks.items()
    }


def add_look(client: "MlflowClient", name: str, test_faces: str, identity: str, what: str = "measured") -> None:
    """Write down what happened to a model on these test faces."""
    client.set_registered_model_tag(name, f"{LOOK}{test_faces}.{identity}", what)


def spend(
    client: "MlflowClient", name: str, test_faces: str, identity: str, settings: gate.RegisterConfig
) -> tuple[int, int]:
    """Write down, before its comparison, what a model's decision spends; returns its `gate.place_of`."""
    looks = looks_of(read_model(client, name), test_faces)
    place = number, allowed = gate.place_of(looks, identity, settings)
    before = looks.get(identity)
    if number <= allowed and (before is None or before[1] < settings.level):
        add_look(client, name, test_faces, identity, f"decision {number} {settings.level:.10g}")
    return place


def described(macro: str, *values: Any) -> str:
    """A description of a registered model or a version, in the words of `descriptions.md.j2`."""
    return note(DESCRIPTIONS, macro, *values)


def tag_runs(client: "MlflowClient", name: str, versions: Iterable[int | None]) -> None:
    """Write into the runs of these versions which aliases the versions have now; deleted ones are passed over."""
    for number in {number for number in versions if number is not None}:
        with passing_over_deleted():
            version = client.get_model_version(name, str(number))
            if not version.run_id:
                continue
            aliases = ", ".join(sorted(version.aliases))
            before = client.get_run(version.run_id).data.tags.get(ALIAS, "")
            if aliases != before:
                client.set_tag(version.run_id, ALIAS, aliases)


@contextmanager
def passing_over_deleted() -> Iterator[None]:
    """Go on behind the block where a version or a run in it has been deleted."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in UNKNOWN:
            raise
