"""Promotion and rollback: the alias `champion`, and a history of reversible steps."""

import json
import os
import socket
import sys
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import psutil

from mien.base.errors import UserError
from mien.base.state import locked
from mien.registry import events
from mien.registry.gate import PROMOTED
from mien.registry.version import version_identities
from mien.tracking.store import connect, database_file, store_errors

# MLflow takes two seconds to import, so the functions that need it import it.
if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"
WRITER: Final = "mien.writer."  # a registered model's tag, + machine and process: its number in the queue of writers
PATIENCE: Final = 600  # seconds until a writer of another machine that stays first in the queue is taken for dead


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
        move(client, name, events.new_event(PROMOTED, chosen, before, there, by=by, reasons=[reason]))
        return f"{name} version {chosen} is champion now" + (f", in place of version {before}." if before else ".")


def rollback(name: str, *, by: str, reason: str) -> str:
    """Bring back the champion before this one, from the history; returns what was done. A UserError without one."""
    with registry(name) as client:
        model = settle(client, name)
        there = version_identities(client, name)
        before, past = alias_of(model, CHAMPION), events.recorded(model)
        earlier = champion_below(past, there)
        if earlier is None:
            raise UserError(f"{name} has no earlier champion that still exists: there is nothing to roll back to.")
        event = events.new_event(events.ROLLED_BACK, earlier, before, there, by=by, reasons=[reason])
        skipped = [v for v in events.champions(past) if v is not None and v not in events.champions([*past, event])]
        move(client, name, event)
        said = f"{name} is back at version {earlier}" + (f"; version {before} stepped down." if before else ".")
        gone = (f" Version {v} was passed over: it has been deleted." for v in skipped if v not in there)
        return said + "".join(gone)


def history(name: str) -> list[dict[str, Any]]:
    """The model's events, oldest first, as `new_event` makes them; a UserError without such a model or a store."""
    with registry(name) as client:
        return events.recorded(settle(client, name))


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
    model, there = events.read_model(client, name), version_identities(client, name)
    if pending := model.tags.get(events.PENDING):
        event = json.loads(pending)
        if event["version"] in there:
            _carry_out(client, name, event)
        else:
            client.delete_registered_model_tag(name, events.PENDING)
        model = events.read_model(client, name)
    known, actual = events.champions(events.recorded(model))[-1], alias_of(model, CHAMPION)
    if known != actual:
        reason = "The alias champion was moved outside of mien, for example in the MLflow UI."
        if known is not None and known not in there:
            reason = f"Version {known}, which was champion, has been deleted outside of mien."
        event = events.new_event(events.BY_HAND, actual, known, there, by="unknown", reasons=[reason])
        # The event comes last: after a kill before it, all of this is done again.
        _set_other_aliases(client, name, [*events.recorded(model), event])
        events.append_event(client, name, event)
        model = events.read_model(client, name)
    return model


def champion_below(past: list[events.Event], there: Container[int | None]) -> int | None:
    """The champion that a rollback brings back: the last one before this one whose version is still `there`."""
    *earlier, champion = events.champions(past)
    return next((version for version in reversed(earlier) if version in there and version != champion), None)


def move(client: "MlflowClient", name: str, event: events.Event) -> None:
    """Change the champion: the intention is written first, so that a killed move is finished by the next call."""
    client.set_registered_model_tag(name, events.PENDING, json.dumps(event))
    _carry_out(client, name, event)


def alias_of(model: "RegisteredModel", alias: str) -> int | None:
    """The version that carries an alias, or None."""
    version = model.aliases.get(alias)
    return None if version is None else int(version)


def _carry_out(client: "MlflowClient", name: str, event: events.Event) -> None:
    """Make the event true; every step may be repeated."""
    events.append_event(client, name, event)
    client.set_registered_model_alias(name, CHAMPION, str(event["version"]))
    _set_other_aliases(client, name, events.recorded(events.read_model(client, name)))
    client.delete_registered_model_tag(name, events.PENDING)


def _set_other_aliases(client: "MlflowClient", name: str, past: list[events.Event]) -> None:
    """Set `previous` to the champion before this one, and take `challenger` from a version that became champion."""
    model, champion = events.read_model(client, name), events.champions(past)[-1]
    below = champion_below(past, version_identities(client, name))
    if below is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(below))
    elif PREVIOUS in model.aliases:
        client.delete_registered_model_alias(name, PREVIOUS)
    if champion is not None and alias_of(model, CHALLENGER) == champion:
        client.delete_registered_model_alias(name, CHALLENGER)
    touched = {*map(int, model.aliases.values()), champion, below, past[-1]["from_version"]}
    events.tag_runs(client, name, touched)
