"""Promotion and rollback: the alias `champion`, and the history and decisions of a model in tags and descriptions."""

import json
import os
import socket
import sys
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import psutil

from mien.base.errors import UserError
from mien.base.state import locked
from mien.registry.gate import PROMOTED, RegisterConfig, Spent, place_of
from mien.registry.version import described, version_identities
from mien.tracking.runs import with_section
from mien.tracking.store import UNKNOWN, connect, database_file, store_errors

# MLflow takes two seconds to import, so the functions that need it import it.
if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
WRITER: Final = "mien.writer."  # a registered model's tag, + machine and process: its number in the queue of writers
PATIENCE: Final = 600  # seconds until a writer of another machine that stays first in the queue is taken for dead

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
MOVES: Final = (PROMOTED, ROLLED_BACK, BY_HAND)  # what changes the champion
HISTORY: Final = "History"  # the section of a model's description
ROWS: Final = 8  # events in it

Event = dict[str, Any]  # at, action, version, from_version, identity, from_identity, by, reasons, decision


def promote(name: str, version: int | None, *, by: str, reason: str) -> str:
    """Make a version champion, by default the challenger; returns what was done. A UserError where there is none."""
    with registry(name) as client:
        model = settle(client, name)
        chosen = version if version is not None else alias_of(model, CHALLENGER)
        if chosen not in (there := version_identities(client, name)):
            what, known = f"version {chosen}" if chosen else "challenger", ", ".join(map(str, there)) or "none"
            raise UserError(f"{name} has no {what} to promote; its versions are {known}.")
        before = alias_of(model, CHAMPION)
        if before == chosen:
            return f"{name} version {chosen} is already champion."
        move(client, name, new_event(PROMOTED, chosen, before, there, by=by, reasons=[reason]))
        return f"{name} version {chosen} is champion now" + (f", in place of version {before}." if before else ".")


def rollback(name: str, *, by: str, reason: str) -> str:
    """Bring back the champion before this one, from the history; returns what was done. A UserError without one."""
    with registry(name) as client:
        model = settle(client, name)
        there = version_identities(client, name)
        before, past = alias_of(model, CHAMPION), recorded(model)
        earlier = champion_below(past, there)
        if earlier is None:
            raise UserError(f"{name} has no earlier champion that still exists: there is nothing to roll back to.")
        event = new_event(ROLLED_BACK, earlier, before, there, by=by, reasons=[reason])
        skipped = [v for v in champions(past) if v is not None and v not in champions([*past, event])]
        move(client, name, event)
        said = f"{name} is back at version {earlier}" + (f"; version {before} stepped down." if before else ".")
        gone = (f" Version {v} was passed over: it has been deleted." for v in skipped if v not in there)
        return said + "".join(gone)


def history(name: str) -> list[Event]:
    """The model's events, oldest first, as `new_event` makes them; a UserError without such a model or a store."""
    with registry(name) as client:
        return recorded(settle(client, name))


@contextmanager
def registry(name: str, description: str | None = None) -> Iterator["MlflowClient"]:
    """A client for the one writer of a registered model, which is created where a `description` of it is given.

    Unreachable where the store is a server that gives no answer; another UserError where it fails.
    """
    from mlflow.exceptions import MlflowException

    with store_errors(f"the registry of {name} at"):
        client = connect()
        if description is not None:
            try:
                client.create_registered_model(name, description=description)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        file = database_file(client.tracking_uri)
        with locked(file.parent / ".registry.lock", "registry", wait=True) if file else _turn(client, name):
            yield client


@contextmanager
def _turn(client: "MlflowClient", name: str) -> Iterator[None]:
    """Wait in a queue of writers: a server has neither locks nor transactions for us, only tags.

    Lamport's bakery: who comes draws a number above all others', 0 while it draws, and waits for the lower ones. A
    killed writer leaves its number; its own machine removes it at once, another after `PATIENCE`.
    """
    from mlflow.exceptions import MlflowException

    host = socket.gethostname()
    own = f"{WRITER}{host}.{os.getpid()}"
    try:
        client.set_registered_model_tag(name, own, "0")
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED"):
            raise
        yield  # there is nothing to write, or no right to
        return
    number = 1 + max(_writers(client, name).values())
    client.set_registered_model_tag(name, own, str(number))
    last = number, own
    seen: dict[tuple[int, str], float] = {}
    try:
        while (before := min(((other, key) for key, other in _writers(client, name).items()), default=last)) < last:
            machine, _, process = before[1].removeprefix(WRITER).rpartition(".")
            if before not in seen:
                print(f"mien: waiting for process {process} of {machine}, which writes to {name} too.", file=sys.stderr)
            dead = machine == host and not psutil.pid_exists(int(process))
            if dead or time.monotonic() - seen.setdefault(before, time.monotonic()) > PATIENCE:
                with suppress(MlflowException):  # another has removed it
                    client.delete_registered_model_tag(name, before[1])
            time.sleep(0.2)
        yield
    finally:
        with suppress(MlflowException):  # where the server is away, the next writer here removes it
            client.delete_registered_model_tag(name, own)


def _writers(client: "MlflowClient", name: str) -> dict[str, int]:
    tags = client.get_registered_model(name).tags
    return {key: int(number) for key, number in tags.items() if key.startswith(WRITER)}


def settle(client: "MlflowClient", name: str) -> "RegisteredModel":
    """Finish a move that was killed, and record in the history what a person moved or deleted in the MLflow UI."""
    model, there = read_model(client, name), version_identities(client, name)
    if pending := model.tags.get(PENDING):
        event = json.loads(pending)
        if event["version"] in there:
            _carry_out(client, name, event)
        else:
            client.delete_registered_model_tag(name, PENDING)
        model = read_model(client, name)
    known, actual = champions(recorded(model))[-1], alias_of(model, CHAMPION)
    if known != actual:
        reason = "The alias champion was moved outside of mien, for example in the MLflow UI."
        if known is not None and known not in there:
            reason = f"Version {known}, which was champion, has been deleted outside of mien."
        event = new_event(BY_HAND, actual, known, there, by="unknown", reasons=[reason])
        # The event comes last: after a kill before it, all of this is done again.
        _set_other_aliases(client, name, [*recorded(model), event])
        append_event(client, name, event)
        model = read_model(client, name)
    return model


def champion_below(past: list[Event], there: Container[int | None]) -> int | None:
    """The champion that a rollback brings back: the last one before this one whose version is still `there`."""
    *earlier, champion = champions(past)
    return next((version for version in reversed(earlier) if version in there and version != champion), None)


def move(client: "MlflowClient", name: str, event: Event) -> None:
    """Change the champion: the intention is written first, so that a killed move is finished by the next call."""
    client.set_registered_model_tag(name, PENDING, json.dumps(event))
    _carry_out(client, name, event)


def alias_of(model: "RegisteredModel", alias: str) -> int | None:
    """The version that carries an alias, or None."""
    version = model.aliases.get(alias)
    return None if version is None else int(version)


def _carry_out(client: "MlflowClient", name: str, event: Event) -> None:
    """Make the event true; every step may be repeated."""
    append_event(client, name, event)
    client.set_registered_model_alias(name, CHAMPION, str(event["version"]))
    _set_other_aliases(client, name, recorded(read_model(client, name)))
    client.delete_registered_model_tag(name, PENDING)


def _set_other_aliases(client: "MlflowClient", name: str, past: list[Event]) -> None:
    """Set `previous` to the champion before this one, and take `challenger` from a version that became champion."""
    model, champion = read_model(client, name), champions(past)[-1]
    below = champion_below(past, version_identities(client, name))
    if below is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(below))
    elif PREVIOUS in model.aliases:
        client.delete_registered_model_alias(name, PREVIOUS)
    if champion is not None and alias_of(model, CHALLENGER) == champion:
        client.delete_registered_model_alias(name, CHALLENGER)
    touched = {*map(int, model.aliases.values()), champion, below, past[-1]["from_version"]}
    tag_runs(client, name, touched)


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


def looks_of(model: "RegisteredModel", test_faces: str) -> dict[str, Spent | None]:
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
    client: "MlflowClient", name: str, test_faces: str, identity: str, settings: RegisterConfig
) -> tuple[int, int]:
    """Write down, before its comparison, what a model's decision spends; returns its `place_of`."""
    looks = looks_of(read_model(client, name), test_faces)
    place = number, allowed = place_of(looks, identity, settings)
    before = looks.get(identity)
    if number <= allowed and (before is None or before[1] < settings.level):
        add_look(client, name, test_faces, identity, f"decision {number} {settings.level:.10g}")
    return place


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
