"""`mien sync` and `mien ui`."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mien.tracking.store import URI
from tests.cli.conftest import Command


def test_sync_sends_and_then_has_nothing_to_send(mien: Command, two_champions: Path) -> None:
    first, second = mien("sync"), mien("sync")
    assert first.code == second.code == 0
    assert "is level with the files" in first.out
    assert "0 metrics, 0 files" in second.out
    assert first.out != second.out


def test_sync_without_a_training_is_a_sentence(
    mien: Command, no_store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = mien("sync")
    assert done.code == 1
    assert "nothing to send" in done.err


def test_a_taken_port_is_a_sentence(mien: Command, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = mien("ui", "--port", str(port))
    assert done.code == 1
    assert f"port {port} on 127.0.0.1 cannot be used" in done.err


def test_a_server_is_pointed_at(mien: Command, no_store: None) -> None:
    os.environ[URI] = "http://tracking.example:5000"
    assert "open http://tracking.example:5000" in mien("ui").out


def test_ui_serves_the_store_of_the_checkout(tmp_path: Path) -> None:
    """The real server, on a store that it makes where there is none."""
    (tmp_path / "params.yaml").write_text("data: sample\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != URI}
    command = [str(Path(sys.executable).with_name("mien")), "ui", "--port", str(port)]
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert _answer(f"http://127.0.0.1:{port}/health", server) == b"OK"
        assert (tmp_path / "mlruns/mlflow.db").exists()
    finally:
        os.killpg(server.pid, signal.SIGINT)
        out, _ = server.communicate(timeout=60)
    assert f"open http://127.0.0.1:{port}".encode() in out
    assert b"`Model training`" in out


def _answer(url: str, server: "subprocess.Popen[bytes]") -> bytes:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return bytes(response.read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)
    pytest.fail("the server did not answer within 120 s")
