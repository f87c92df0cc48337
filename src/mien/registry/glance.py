"""A look into an sqlite store without MLflow, whose import alone takes longer than the rest of an idle `dvc repro`.

Only what is plainly settled is taken from here. Whatever looks otherwise, another version's tables included,
gives None, and the caller goes the long way through MLflow.
"""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from mien.registry.gate import Decision
from mien.registry.history import DECISION, DONE, IDENTITY, PENDING, PREFIX, reigning
from mien.tracking.store import database_file


@dataclass(frozen=True)
class Settled:
    """A registered version whose decision has been carried out, and today's champion."""

    version: int
    decision: Decision
    champion: int | None


def glance(uri: str, name: str, identity: str, key: str) -> Settled | None:
    """The version of an identity with its decision, where an sqlite store holds both and nothing is left to do."""
    file = database_file(uri)
    if file is None or not file.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            return _look(database, name, identity, key)
    except (sqlite3.Error, json.JSONDecodeError):
        return None


def _look(database: sqlite3.Connection, name: str, identity: str, key: str) -> Settled | None:
    version = _newest_version(database, name, identity)
    model = dict(_rows(database, "SELECT key, value FROM registered_model_tags WHERE name = ?", name))
    aliases = dict(_rows(database, "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name))
    champion = aliases.get("champion")
    events = [json.loads(value) for tag, value in sorted(model.items()) if tag.startswith(PREFIX)]
    if version is None or PENDING in model or reigning(events) != champion:
        return None
    tags = dict(
        _rows(database, "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?", name, version)
    )
    if DONE + key not in tags or DECISION + key not in tags:
        return None
    return Settled(version, Decision(**json.loads(tags[DECISION + key])), champion)


def _newest_version(database: sqlite3.Connection, name: str, identity: str) -> int | None:
    """The newest version of the identity that is ready and whose files are there."""
    found = _rows(
        database,
        "SELECT v.version, v.storage_location FROM model_versions v"
        " JOIN model_version_tags t ON t.name = v.name AND t.version = v.version"
        " WHERE v.name = ? AND t.key = ? AND t.value = ?"
        " AND v.status = 'READY' AND v.current_stage != 'Deleted_Internal' ORDER BY v.version DESC",
        name,
        IDENTITY,
        identity,
    )
    return next((int(version) for version, place in found if Path(unquote(urlparse(place).path)).is_dir()), None)


def _rows(database: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    return database.execute(query, values).fetchall()
