"""Registering over a real server, whole, through faults and with a person deciding; and docs/reference/rest.md."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import mlflow
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
from tests.registry.workspace import aliases, candidate_of, copied, less_sure, photos_of, registered
from tests.servers import free_port

MANUAL = RegisterConfig(approve="manual", bootstrap=300)
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
    assert "`dvc repro` continues" in report["reasons"][0]
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
    register(candidate_of(root), RegisterConfig(bootstrap=300), decides=False)
    proxy.set("500", only="mlflow-artifacts")
    assert run_register(root, data)["outcome"] == "not registered"
    proxy.set("work")
    report = run_register(root, data)
    assert (report["outcome"], report["champion"]) == ("promoted", 2)


RIVAL = """
import json, sys, time
from pathlib import Path
from mien.registry import registration
from tests.registry.workspace import registered
root, round = Path(sys.argv[1]), Path(sys.argv[2])
def meet(step, patience):
    (round / f"{step} {root.name}").touch()
    end = time.monotonic() + patience
    while len(list(round.glob(f"{step} *"))) < 2 and time.monotonic() < end:
        time.sleep(0.02)
def met(step):
    real = getattr(registration, step)
    def after_meeting(*args):
        meet(step, 2)
        return real(*args)
    setattr(registration, step, after_meeting)
met("obtain_run")
met("_compare")
meet("start", 60)
print(json.dumps(registered(root)))
"""


def race(round: Path, *roots: Path) -> list[dict[str, Any]]:
    """What processes report that register at the same moment, and wait for each other at the steps that may clash."""
    round.mkdir()
    command = [sys.executable, "-c", RIVAL]
    rivals = [subprocess.Popen([*command, str(root), str(round)], stdout=subprocess.PIPE) for root in roots]
    said = [rival.communicate(timeout=120)[0] for rival in rivals]
    return sorted((json.loads(text) for text in said), key=lambda report: str(report["numbers"].get("decision")))


def test_two_that_register_at_the_same_moment_do_so_one_after_the_other(
    proxy: FaultProxy, weak: Path, strong: Path, tmp_path: Path, data: str
) -> None:
    root, same, better, other = (
        named(copied(source, tmp_path / name), data)
        for name, source in {"root": weak, "same": weak, "better": strong, "other": strong}.items()
    )
    less_sure(other)
    first, again = race(tmp_path / "one model", root, same)
    assert (first["outcome"], first["version"], first["champion"]) == ("promoted", 1, 1)
    assert again == first
    assert versions(data) == [1]

    earlier, later = race(tmp_path / "two models", better, other)
    assert versions(data) == [1, 2, 3]
    assert {earlier["version"], later["version"]} == {2, 3}
    assert earlier["numbers"]["against"] == 1
    assert later["numbers"]["against"] == earlier["champion"]
    assert [report["numbers"]["decision"] for report in (earlier, later)] == [1, 2]
    model = connect().get_registered_model(f"mien-{data}")
    assert model.aliases["champion"] == str(later["champion"])
    events = promotion.history(f"mien-{data}")
    assert [(event["action"], event["version"]) for event in events] == [
        (report["outcome"], report["version"]) for report in (first, earlier, later)
    ]


def test_writers_that_were_killed_hold_nobody_up(
    proxy: FaultProxy, data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client, name = connect(), f"mien-{data}"
    client.create_registered_model(name)
    with subprocess.Popen(["true"]) as killed:
        pass
    client.set_registered_model_tag(name, f"{promotion.WRITER}{socket.gethostname()}.{killed.pid}", "1")
    client.set_registered_model_tag(name, f"{promotion.WRITER}another.machine.1", "0")
    monkeypatch.setattr(promotion, "PATIENCE", 0.5)
    assert promotion.history(name) == []
    assert client.get_registered_model(name).tags == {}
    said = capsys.readouterr().err
    assert f"waiting for process {killed.pid} of {socket.gethostname()}, which writes to {name} too" in said
    assert said.count("waiting for process 1 of another.machine") == 1


def test_a_wrong_answer_is_an_error_and_not_an_absence(
    root: Path, data: str, server_on_sqlite: str, no_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URI, f"{server_on_sqlite}/wrong")
    with pytest.raises(UserError, match="failed"):
        run_register(root, data)


def move_alias_in_the_ui(url: str, name: str, version: int) -> None:
    """What the page of a registered model sends when a person gives a version the alias."""
    body = json.dumps({"name": name, "alias": "champion", "version": str(version)}).encode()
    address = f"{url}/ajax-api/2.0/mlflow/registered-models/alias"
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def test_a_candidate_waits_and_both_roads_end_in_one_history(
    proxy: FaultProxy, root: Path, strong: Path, data: str
) -> None:
    name = f"mien-{data}"
    first = registered(root, MANUAL)
    assert (first["outcome"], first["champion"], aliases(name)) == ("challenger", None, {"challenger": 1})
    promotion.promote(name, None, by="ada", reason="looks right")
    named(copied(strong, root), data)
    second = registered(root, MANUAL)
    assert (second["outcome"], second["champion"]) == ("challenger", 1)
    assert "a person decides, with `mien promote` or in the MLflow UI" in " ".join(second["reasons"])
    assert aliases(name) == {"champion": 1, "challenger": 2}

    move_alias_in_the_ui(proxy.address, name, 2)
    assert registered(root, MANUAL)["champion"] == 2  # the gate leaves a person's word alone, and enters it
    by_ui, event_of_ui = aliases(name), promotion.history(name)[-1]
    promotion.rollback(name, by="ada", reason="complaints")
    assert aliases(name) == {"champion": 1}
    promotion.promote(name, 2, by="ada", reason="it was the camera")
    by_mien, event_of_mien = aliases(name), promotion.history(name)[-1]
    promotion.rollback(name, by="ada", reason="complaints again")

    assert by_ui == by_mien == {"champion": 2, "previous": 1}
    assert (event_of_ui["action"], event_of_mien["action"]) == ("moved by hand", "promoted")
    assert {(e["version"], e["from_version"]) for e in (event_of_ui, event_of_mien)} == {(2, 1)}
    assert aliases(name) == {"champion": 1}
    assert registered(root, MANUAL)["champion"] == 1
    history = [event["action"] for event in promotion.history(name)]
    assert history[:3] == ["challenger", "promoted", "challenger"]
    assert history[3:] == ["moved by hand", "rolled back", "promoted", "rolled back"]


PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/rest.md").read_text()
START, READY, ASK_FILE, ASK_PIXELS, ASK_WRONGLY = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.slow
def test_the_commands_of_the_page_work(checkout: Path, strong: Path) -> None:
    registered(strong)
    photos, predicted = photos_of(strong, 1)
    (checkout / "face.png").write_bytes(photos["image"][0])
    expected = mlflow.pyfunc.load_model("models:/mien-tiny@champion").predict(photos)
    with served(checkout) as run:
        for command in (ASK_FILE, ASK_PIXELS):
            (row,) = json.loads(run(command))["predictions"]
            assert row["label"] == predicted[0]
            np.testing.assert_allclose([row[name] for name in EXPRESSIONS], expected[list(EXPRESSIONS)].loc[0])
        refused = run(ASK_WRONGLY)
        assert (
            "row 0: the image cannot be read: the file is no image of a known format (5 bytes)."
            in json.loads(refused)["message"]
        )
        assert "Traceback" not in refused and ".py" not in refused
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(run, [ASK_FILE, ASK_WRONGLY, ASK_PIXELS] * 4))
        assert [("predictions" in json.loads(answer)) for answer in answers] == [True, False, True] * 4


@contextmanager
def served(checkout: Path) -> Iterator[Any]:
    """The page's server on a free port; what runs its other commands against it."""
    port = str(free_port())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell: dict[str, Any] = {"cwd": checkout, "env": {**os.environ, "PATH": path}}

    def told(command: str) -> list[str]:
        return ["bash", "-eo", "pipefail", "-c", command.replace("5011", port).replace("mien-sample", "mien-tiny")]

    def run(command: str) -> str:
        return subprocess.run(told(command), check=True, capture_output=True, text=True, timeout=60, **shell).stdout

    with (checkout / "server.log").open("w") as log:
        process = subprocess.Popen(told(START), stdout=log, stderr=log, start_new_session=True, **shell)
        try:
            end = time.monotonic() + 120
            while subprocess.run(told(READY), capture_output=True, check=False, **shell).returncode:
                assert process.poll() is None and time.monotonic() < end, (checkout / "server.log").read_text()
                time.sleep(0.5)
            yield run
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
