"""Promotion and rollback: the alias `champion`, and a history of reversible steps."""

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.registry.events import (
    BY_HAND,
    PENDING,
    ROLLED_BACK,
    Event,
    append_event,
    champions,
    events_of,
    new_event,
    read_model,
    tag_runs,
)
from mien.registry.gate import PROMOTED
from mien.registry.version import version_identities
from mien.tracking.store import connect, store_errors, store_lock

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel
    from mlflow.tracking import MlflowClient

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS: Final = "previous"


def promote(name: str, version: int | None, *, by: str, reason: str) -> str:
    """Make a version champion, the challenger where none is given; returns what was done as a sentence.

    Raises:
        UserError: no such model or version, no challenger, or no store.
    """
    with registry(name) as client:
        model = settle(client, name)
        chosen = version if version is not None else alias_of(model, CHALLENGER)
        if chosen not in (there := version_identities(client, name)):
            known = ", ".join(map(str, there)) or "none"
            if chosen is None:
                raise UserError(f"{name} has no challenger; name a version to promote, of {known}.")
            raise UserError(f"{name} has no version {chosen}; its versions are {known}.")
        before = alias_of(model, CHAMPION)
        if before == chosen:
            return f"{name} version {chosen} is already champion."
        move(client, name, new_event(PROMOTED, chosen, before, there, by=by, reasons=[reason]))
        return f"{name} version {chosen} is champion now" + (f", in place of version {before}." if before else ".")


def rollback(name: str, *, by: str, reason: str) -> str:
    """Bring back the champion before this one, from the history; returns what was done as a sentence.

    Raises:
        UserError: no such model, no champion before this one, or no store.
    """
    with registry(name) as client:
        model = settle(client, name)
        there = version_identities(client, name)
        before, events = alias_of(model, CHAMPION), events_of(model)
        earlier = champion_below(events, there)
        if earlier is None:
            raise UserError(f"{name} has no earlier champion that still exists: there is nothing to roll back to.")
        event = new_event(ROLLED_BACK, earlier, before, there, by=by, reasons=[reason])
        skipped = [v for v in champions(events) if v is not None and v not in champions([*events, event])]
        move(client, name, event)
        said = f"{name} is back at version {earlier}" + (f"; version {before} stepped down." if before else ".")
        gone = (f" Version {v} was passed over: it has been deleted." for v in skipped if v not in there)
        return said + "".join(gone)


def history(name: str) -> list[dict[str, Any]]:
    """The model's events, oldest first: at, action, version, from_version, by, reasons, decision.

    Raises:
        UserError: no such model, or no store.
    """
    with registry(name) as client:
        return events_of(settle(client, name))


@contextmanager
def registry(name: str) -> Iterator["MlflowClient"]:
    """A client for the one writer of a registered model.

    Raises:
        Unreachable: the store is a server and gives no answer.
        UserError: the store cannot be read or written.
    """
    with store_errors(f"the registry of {name} at"):
        client = connect()
        with store_lock(client.tracking_uri, "registry"):
            yield client


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
    known, actual = champions(events_of(model))[-1], alias_of(model, CHAMPION)
    if known != actual:
        reason = "The alias champion was moved outside of mien, for example in the MLflow UI."
        if known is not None and known not in there:
            reason = f"Version {known}, which was champion, has been deleted outside of mien."
        event = new_event(BY_HAND, actual, known, there, by="unknown", reasons=[reason])
        # The event comes last: after a kill before it, all of this is done again.
        _set_other_aliases(client, name, [*events_of(model), event])
        append_event(client, name, event)
        model = read_model(client, name)
    return model


def champion_below(events: list[Event], there: Container[int | None]) -> int | None:
    """The champion that a rollback brings back: the last one before this one whose version is still `there`."""
    *earlier, champion = champions(events)
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
    _set_other_aliases(client, name, events_of(read_model(client, name)))
    client.delete_registered_model_tag(name, PENDING)


def _set_other_aliases(client: "MlflowClient", name: str, events: list[Event]) -> None:
    """Set `previous` to the champion before this one, and take `challenger` from a version that became champion."""
    model, champion = read_model(client, name), champions(events)[-1]
    below = champion_below(events, version_identities(client, name))
    if below is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(below))
    elif PREVIOUS in model.aliases:
        client.delete_registered_model_alias(name, PREVIOUS)
    if champion is not None and alias_of(model, CHALLENGER) == champion:
        client.delete_registered_model_alias(name, CHALLENGER)
    touched = {*map(int, model.aliases.values()), champion, below, events[-1]["from_version"]}
    tag_runs(client, name, touched)
