"""`mien app` where it cannot start; the page itself is tested in tests/app."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.cli.show import say_ready
from tests.inference.conftest import write_model


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["app", *words])
    return result.exit_code, result.output


def test_without_a_champion_it_says_what_makes_one(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    code, says = run("--data", "sample")
    assert code == 2
    assert "there is no models:/mien-sample@champion yet" in says
    assert "`make repro` trains and promotes one" in says


def test_a_registry_that_is_down_ends_in_a_sentence(
    tmp_path: Path, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_port)
    code, says = run("--data", "sample")
    assert (code, "Connection refused" in says, "Traceback" in says) == (1, True, False)


def test_a_port_that_is_taken_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = write_model(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, says = run("--model", str(model), "--port", str(port))
    assert code == 1
    assert f"mien: 127.0.0.1:{port} cannot be used (Address already in use); --port takes another one." in says


def test_a_wrong_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/app.yaml").write_text("queue: 0\n")
    monkeypatch.chdir(tmp_path)
    assert run("--model", "x") == (1, "mien: conf/app.yaml: queue must be above 0, not 0.\n")


def test_the_slow_detector_is_told_with_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    say_ready("mien-tiny version 1", "http://127.0.0.1:7860", "haar")
    say_ready("mien-tiny version 1", "http://127.0.0.1:7860", "yunet")
    first, advice, second = capsys.readouterr().err.splitlines()
    assert first == second == "mien: mien-tiny version 1 answers at http://127.0.0.1:7860"
    assert "`detector: yunet` in conf/predict.yaml" in advice
