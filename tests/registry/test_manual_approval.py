"""`register: manual`: a candidate waits for a person, who promotes with mien or moves the alias in the MLflow UI."""

import dataclasses
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.registry import promotion
from mien.registry.gate import RegisterConfig
from mien.tracking.store import URI
from tests.registry.workspace import NAME, aliases, registered
from tests.servers import mlflow_server
from tests.stores import migrated


@pytest.fixture
def server(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server that several people share."""
    folder = checkout / "shared"
    folder.mkdir()
    shutil.copyfile(migrated(), folder / "mlflow.db")
    with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder) as url:
        monkeypatch.setenv(URI, url)
        yield url


@pytest.fixture
def manual(rules: RegisterConfig) -> RegisterConfig:
    """The gate of conf/register/manual.yaml, with few resamples."""
    return dataclasses.replace(rules, approve="manual")


def move_alias_in_the_ui(url: str, version: int) -> None:
    """What the page of a registered model sends when a person gives a version the alias."""
    body = json.dumps({"name": NAME, "alias": "champion", "version": str(version)}).encode()
    address = f"{url}/ajax-api/2.0/mlflow/registered-models/alias"
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def last_event() -> dict[str, Any]:
    return promotion.history(NAME)[-1]


def test_a_candidate_waits_and_both_roads_end_in_one_history(
    server: str, weak: Path, strong: Path, manual: RegisterConfig
) -> None:
    first = registered(weak, manual)
    assert (first["outcome"], first["champion"], aliases()) == ("challenger", None, {"challenger": 1})
    promotion.promote(NAME, None, by="ada", reason="looks right")
    second = registered(strong, manual)
    assert (second["outcome"], second["champion"]) == ("challenger", 1)
    assert "a person decides, with `mien promote` or in the MLflow UI" in " ".join(second["reasons"])
    assert aliases() == {"champion": 1, "challenger": 2}

    move_alias_in_the_ui(server, 2)
    assert registered(strong, manual)["champion"] == 2  # the gate leaves a person's word alone, and enters it
    by_ui, event_of_ui = aliases(), last_event()
    promotion.rollback(NAME, by="ada", reason="complaints")
    assert aliases() == {"champion": 1}
    promotion.promote(NAME, 2, by="ada", reason="it was the camera")
    by_mien, event_of_mien = aliases(), last_event()
    promotion.rollback(NAME, by="ada", reason="complaints again")

    assert by_ui == by_mien == {"champion": 2, "previous": 1}
    assert (event_of_ui["action"], event_of_mien["action"]) == ("moved by hand", "promoted")
    assert {(e["version"], e["from_version"]) for e in (event_of_ui, event_of_mien)} == {(2, 1)}
    assert aliases() == {"champion": 1}
    assert registered(strong, manual)["champion"] == 1
    history = [event["action"] for event in promotion.history(NAME)]
    assert history[:3] == ["challenger", "promoted", "challenger"]
    assert history[3:] == ["moved by hand", "rolled back", "promoted", "rolled back"]
