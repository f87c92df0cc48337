"""The view that MLflow offers on an experiment, as MLflow reads it."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from mien.tracking.publish import sync
from mien.tracking.store import connect, find_experiment
from mien.tracking.views import NAME, TAG


def view_of(experiment: str) -> dict[str, Any]:
    """The tag, read as the page's `deflate;` reader does."""
    view: dict[str, Any] = json.loads(find_experiment(connect(), experiment).tags[TAG])
    packed = view["state"].removeprefix("deflate;")
    view["state"] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return view


def test_an_experiment_offers_its_runs_by_accuracy_with_the_outcome(checkout: Path) -> None:
    view = view_of("tiny")
    assert (view["name"], view["state"]["orderByKey"]) == (NAME, "metrics.`test/accuracy`")
    assert {"metrics.`test/interval/accuracy_low`", "tags.`mien.alias`"} <= set(view["state"]["selectedColumns"])


def test_the_view_names_what_runs_have(trained: Path) -> None:
    sync(trained)
    client = connect()
    state = view_of("tiny")["state"]
    experiment = find_experiment(client, "tiny").experiment_id
    (run,) = client.search_runs([experiment], state["searchFilter"], order_by=[f"{state['orderByKey']} DESC"])
    have = {f"metrics.`{key}`" for key in run.data.metrics} | {f"params.`{key}`" for key in run.data.params}
    asked = {column for column in state["selectedColumns"] if not column.startswith("tags.")}
    assert asked - have == {"params.`choice.model`"}  # the little training of this test names no model


def test_an_older_experiment_gets_the_view_by_a_sync_and_a_persons_stays(trained: Path) -> None:
    client = connect()
    experiment = find_experiment(client, "tiny").experiment_id
    client.delete_experiment_tag(experiment, TAG)
    sync(trained)
    assert view_of("tiny")["name"] == NAME
    mine = json.dumps({**json.loads(find_experiment(client, "tiny").tags[TAG]), "name": "mine"})
    client.set_experiment_tag(experiment, TAG, mine)
    sync(trained)
    assert view_of("tiny")["name"] == "mine"
