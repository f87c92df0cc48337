"""`mien card`, `export`, `promote`, `rollback`, `history`, `sync` and `ui` on a real registry."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mien.tracking.store import URI, connect
from tests.cli.conftest import Command, refused
from tests.inference.conftest import write_model
from tests.pipelines.workspace import ROOT
from tests.servers import answers, free_port, wait_for


def test_the_champions_card_is_markdown_where_no_terminal_is(mien: Command, two_champions: Path) -> None:
    done = mien("card")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("# Model card: mien-tiny\n") and done.out.endswith("bit for bit.\n")
    assert mien("card", "models:/mien-tiny/2").out == done.out
    assert mien("card", "models:/mien-tiny/1").out != done.out


def test_a_model_without_a_card_and_no_model_are_sentences(mien: Command, two_champions: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "old")
    refused(mien("card", folder), f"{folder} has no model card")
    (folder / "card.md").write_text("# Mine\n")
    assert mien("card", folder).out == "# Mine\n"
    refused(mien("card", "models:/mien-other@champion"), "there is no models:/mien-other@champion yet")


def test_the_champion_in_one_command_and_used_at_once(mien: Command, two_champions: Path, photo_file: Path) -> None:
    done = mien("export", "--int8")
    assert done.code == 0, done.err
    first, checked, moved, cost, use = done.out.splitlines()
    assert first.startswith("mien-tiny-2-int8.onnx: mien-tiny version 2 in int8, 0.")
    assert checked.startswith("float32 against the model, on 62 of its own validation faces: probabilities differ")
    assert moved.startswith("int8 against float32: the same expression on ")
    assert "95 % interval" in cost
    assert use == "Use it with `mien predict PHOTO --model mien-tiny-2-int8.onnx`."
    assert [file.name for file in two_champions.glob("*.onnx*")] == ["mien-tiny-2-int8.onnx"]
    used = mien("predict", photo_file, "--model", "mien-tiny-2-int8.onnx")
    assert used.code == 0, used.err
    assert "1 face in 1 photo, by mien-tiny version 2" in used.out


def test_without_own_faces_it_says_what_it_did_without(mien: Command, two_champions: Path) -> None:
    shutil.rmtree(two_champions / "build")
    refused = mien("export", "--int8")
    assert refused.code == 1
    lacking = "build/crop has no training and validation faces of mien-tiny version 2"
    assert refused.err.startswith(f"mien: int8 needs faces for its calibration: {lacking}")
    assert refused.err.endswith("cut as it takes them; pass --photos FOLDER.\n")
    done = mien("export", "--model", "models:/mien-tiny/1", "--out", "to/here.onnx")
    assert done.code == 0, done.err
    assert "the file is checked on generated pictures; --photos FOLDER uses yours." in done.err
    assert "on 64 generated pictures: probabilities differ by at most" in done.out
    assert (two_champions / "to/here.onnx").is_file()


def test_what_cannot_be_exported(mien: Command, two_champions: Path) -> None:
    assert "there is no such folder" in mien("export", "--model", "nowhere").err
    assert "gone.jpg: there is no such file" in mien("export", "--photos", "gone.jpg").err


def champion() -> int:
    return int(connect().get_registered_model("mien-tiny").aliases["champion"])


def test_promote_roll_back_and_read_it_all(mien: Command, two_champions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_USER", "ada")
    done = mien("promote", "1", "--reason", "A customer asked.")
    assert done.out == "mien-tiny version 1 is champion now, in place of version 2.\n"
    assert champion() == 1
    monkeypatch.delenv("MIEN_USER")
    assert mien("rollback").out == "mien-tiny is back at version 2; version 1 stepped down.\n"
    assert champion() == 2
    out = mien("history", "--data", "tiny").out
    assert max(map(len, out.splitlines())) <= 80
    folded = " ".join(out.split())
    for said in ("rolled back", "promoted", "ada", getpass.getuser(), "A customer asked.", "Rolled back by hand."):
        assert said in folded
    assert [event["version"] for event in json.loads(mien("history", "--json").out)][-2:] == [1, 2]
    assert folded.index("Rolled back by hand.") < folded.index("A customer asked.") < folded.index("was no champion;")


def test_the_shell_completes_values_and_reads_models_and_runs_from_the_store(
    two_champions: Path, process: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "conf", two_champions / "conf")
    run = connect().get_model_version("mien-tiny", "2").run_id
    monkeypatch.setenv("_MIEN_COMPLETE", "complete_bash")
    for words, offered in (
        ("preset fer2013-m", ["fer2013-mobilenetv2", "fer2013-mobilenetv2-5400"]),
        ("predict --detector y", ["yunet"]),
        ("evaluate --data fer2013-", ["fer2013-folders", "fer2013-numbered"]),
        ("predict --model packaged-", ["packaged-compact"]),
        ("card mien-tiny@c", ["mien-tiny@champion"]),
        (f"compare . {run[:4]}", [run[:8]]),
        ("export --model models:/", ["models:/mien-tiny/1", "models:/mien-tiny/2"]),
    ):
        monkeypatch.setenv("COMP_WORDS", f"mien {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        assert process(cwd=two_champions).out.split() == offered
    (two_champions / "mlruns/mlflow.db").write_bytes(b"damaged")
    done = process(cwd=two_champions)
    assert (done.out.strip(), done.err) == ("", "")


def test_what_cannot_be_done_is_a_sentence(mien: Command, two_champions: Path) -> None:
    (two_champions / "conf/data").mkdir(parents=True)
    for name in ("tiny", "other"):
        (two_champions / f"conf/data/{name}.yaml").write_text(f"name: {name}\n")
    for arguments, reason in (
        (["promote"], "has no challenger"),
        (["promote", "9"], "has no version 9 to promote; its versions are 1, 2"),
        (["history", "--data", "tinny"], "--data: there is no conf/data/tinny.yaml (did you mean tiny?)"),
        (["rollback", "--data", "other"], "there is no registered model 'mien-other'"),
    ):
        refused(mien(*arguments), reason)
    assert champion() == 2


@pytest.mark.parametrize(
    "command", [*(f"{c} --data sample" for c in ("promote", "rollback", "history")), "compare a b"]
)
def test_looking_creates_no_store(
    mien: Command, command: str, tmp_path: Path, no_store: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(mien(*command.split()), "nothing has been ")  # registered, or tracked
    assert list(tmp_path.iterdir()) == []


def test_sync_sends_and_then_has_nothing_to_send(mien: Command, two_champions: Path) -> None:
    first, second = mien("sync"), mien("sync")
    assert first.code == second.code == 0
    assert "is up to date" in first.out
    assert "0 metrics, 0 files" in second.out
    assert first.out != second.out


def test_a_taken_port_is_a_sentence(mien: Command, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(mien("ui", "--port", str(port)), f"port {port} on 127.0.0.1 cannot be used")


def test_a_server_is_pointed_at(mien: Command, no_store: None) -> None:
    os.environ[URI] = "http://tracking.example:5000"
    assert "open http://tracking.example:5000" in mien("ui").out


def test_ui_serves_the_store_of_the_checkout(tmp_path: Path) -> None:
    """The real server, on a store that it makes where there is none."""
    (tmp_path / "params.yaml").write_text("data: sample\n")
    port = free_port()
    environment = {key: value for key, value in os.environ.items() if key != URI}
    command = [str(Path(sys.executable).with_name("mien")), "ui", "--port", str(port)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True, **streams)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}"), server, None)
        assert (tmp_path / "mlruns/mlflow.db").exists()
    finally:
        os.killpg(server.pid, signal.SIGINT)
        out, _ = server.communicate(timeout=60)
    assert f"open http://127.0.0.1:{port}".encode() in out
    assert b"`Model training`" in out


READING = ("predict PHOTO", "explain PHOTO", "video PHOTO out.mp4")
OTHERS = ("app", "card", "export", "evaluate --data sample", "compare tiny other", "promote 1", "rollback", "history")
CODES = {"status": 0, **dict.fromkeys(("sync", "ui", "labels", *OTHERS), 1), **dict.fromkeys(READING, 2)}


@pytest.mark.parametrize(("command", "code"), CODES.items())
def test_an_address_without_a_store_is_one_sentence(
    mien: Command,
    command: str,
    code: int,
    photo_file: Path,
    tmp_path: Path,
    closed_port: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every command that uses the store; a report and a search for labels are none of them."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "reports", tmp_path / "reports")
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    database = closed_port.replace("http", "postgresql+psycopg2") + "/mlflow"
    for address in ("./mlruns", "foo://server", closed_port, database):
        monkeypatch.setenv(URI, address)
        done = mien(*(photo_file if word == "PHOTO" else word for word in command.split()))
        if code == 0 or (command, address) == ("ui", closed_port):  # it says where the server would be
            assert (done.code, done.err) == (0, "")
        elif command == "labels":
            assert (done.code, address in done.err, done.err.count("\n")) == (1, False, 1)
        else:
            refused(done, address, code)
    assert not (tmp_path / "mlruns").exists()


@pytest.mark.parametrize(
    "command", ["history", "promote 1", "rollback", "sync", "ui", "compare tiny other", "predict PHOTO"]
)
def test_a_damaged_store_is_one_sentence(mien: Command, two_champions: Path, photo_file: Path, command: str) -> None:
    (two_champions / "mlruns/mlflow.db").write_bytes(b"garbage " * 999)
    done = mien(*(photo_file if word == "PHOTO" else word for word in command.split()))
    assert done.code in (1, 2) and done.out == ""
    assert done.err.startswith("mien: the ") and "sqlite:///" in done.err and done.err.count("\n") == 1
    assert "not an MLflow database, or is damaged: move it away, and `mien sync` fills a new one" in done.err
