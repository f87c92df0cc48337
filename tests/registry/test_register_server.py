"""Registering over a real server, whole and through faults; the stage ends, whatever the server does."""

import json
import uuid
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pytest

from mien.base.classes import EXPRESSIONS
from mien.base.errors import UserError
from mien.registry import promotion
from mien.registry.gate import RegisterConfig
from mien.registry.registration import register
from mien.tracking.publish import sync
from mien.tracking.store import URI, connect
from pipelines.__main__ import run_stage
from tests.faults import FaultProxy, Mode, fault_proxy
from tests.registry.workspace import candidate_of, copied, evidence_of, photos_of
from tests.servers import server_on_postgresql, server_on_sqlite

__all__ = ["server_on_postgresql", "server_on_sqlite"]
RULES = ["data=sample", "register=auto", "register.bootstrap=300"]


@pytest.fixture
def data() -> str:
    """A data set that the server, which all tests share, does not know yet."""
    return f"tiny-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def root(weak: Path, tmp_path: Path, data: str) -> Path:
    """A checkout after evaluate."""
    return named(copied(weak, tmp_path / "checkout"), data)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def proxy(request: pytest.FixtureRequest, no_store: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """What fails on demand in front of a real server, and is the registry in use."""
    with fault_proxy(request.getfixturevalue(f"server_on_{request.param}")) as between:
        monkeypatch.setenv(URI, between.address)
        mlflow.set_tracking_uri(between.address)  # an earlier test's default store would win over the environment
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        yield between


def named(root: Path, data: str) -> Path:
    """The checkout with another name for its data set."""
    file = root / "build/train/lineage.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"data": data}))
    return root


def run_register(root: Path, data: str) -> dict[str, Any]:
    """The stage as `dvc repro` starts it; its report."""
    with chdir(root):
        run_stage("register", [*RULES, f"data.name={data}"])
    report: dict[str, Any] = json.loads((root / "reports/register.json").read_text())
    return report


def versions(data: str) -> list[int]:
    return sorted(int(v.version) for v in connect().search_model_versions(f"name = 'mien-{data}'"))


def test_a_server_keeps_files_aliases_and_history(proxy: FaultProxy, root: Path, strong: Path, data: str) -> None:
    first = run_register(root, data)
    assert (first["outcome"], first["version"]) == ("promoted", 1)
    assert run_register(root, data) == first
    images, predicted = photos_of(root, 4)
    served = mlflow.pyfunc.load_model(f"models:/mien-{data}@champion")
    assert served.predict(images)["label"].tolist() == predicted
    assert np.allclose(served.predict(images)[list(EXPRESSIONS)].sum(axis=1), 1)
    second = run_register(named(copied(strong, root), data), data)
    assert (second["outcome"], second["numbers"]["against"], second["champion"]) == ("promoted", 1, 2)
    promotion.rollback(f"mien-{data}", by="ada", reason="complaints")
    actions = [event["action"] for event in promotion.history(f"mien-{data}")]
    assert actions == ["promoted", "promoted", "rolled back"]
    assert "training: 0 parameters, 0 metrics, 0 files" in sync(root)


@pytest.mark.parametrize("mode", ["refuse", "500", "hang", "cut"])
def test_the_stage_ends_without_a_registry_and_the_next_run_registers(
    proxy: FaultProxy, root: Path, data: str, mode: Mode, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy.set(mode)
    report = run_register(root, data)
    assert (report["outcome"], report["version"], report["champion"]) == ("not registered", None, None)
    assert "`dvc repro` goes on" in report["reasons"][0]
    assert proxy.address not in json.dumps(report)  # what git keeps is no matter of the machine
    said = capsys.readouterr()
    assert f"register: mien-{data}: not registered" in said.out
    assert f"mien: the registry of mien-{data} at {proxy.address} failed" in said.err
    assert len(proxy.handled(mode)) <= 2  # one request and its retry: nothing waits for more
    proxy.set("work")
    assert run_register(root, data)["outcome"] == "promoted"
    assert versions(data) == [1]
    assert "training: 0 parameters, 0 metrics, 0 files" in sync(root)


@pytest.mark.parametrize(
    "step",
    ["runs/create", "registered-models/create", "logged-models", "mlflow-artifacts", "model-versions/create", "alias"],
)
@pytest.mark.parametrize("mode", ["cut", pytest.param("refuse", marks=pytest.mark.slow)])
def test_a_registry_that_dies_in_the_middle_is_gone_on_with(
    proxy: FaultProxy, root: Path, data: str, step: str, mode: Mode
) -> None:
    proxy.fail_at(step, 1, mode)
    assert run_register(root, data)["outcome"] == "not registered"
    assert proxy.mode == mode
    proxy.set("work")
    report = run_register(root, data)
    assert (report["outcome"], report["champion"]) == ("promoted", 1)
    assert versions(data) == [1]
    assert [event["action"] for event in promotion.history(f"mien-{data}")] == ["promoted"]


def test_a_champion_that_cannot_be_fetched_now_is_no_ground_for_a_decision(
    proxy: FaultProxy, root: Path, strong: Path, data: str
) -> None:
    assert run_register(root, data)["outcome"] == "promoted"
    named(copied(strong, root), data)
    register(candidate_of(root), evidence_of(root), RegisterConfig(bootstrap=300), decides=False)
    proxy.set("500", only="mlflow-artifacts")
    assert run_register(root, data)["outcome"] == "not registered"
    proxy.set("work")
    report = run_register(root, data)
    assert (report["outcome"], report["champion"]) == ("promoted", 2)


def test_a_wrong_answer_is_an_error_and_not_an_absence(
    root: Path, data: str, server_on_sqlite: str, no_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URI, f"{server_on_sqlite}/wrong")
    with pytest.raises(UserError, match="failed"):
        run_register(root, data)
