"""Real tracking stores for tests, copied from one that is migrated once, and what else a test run makes once."""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.tracking.store import URI, connect, use_store

ONCE = Path()


@pytest.fixture(scope="session", autouse=True)
def made_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where `once` keeps what it made."""
    global ONCE
    own = tmp_path_factory.getbasetemp()
    ONCE = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "once"


def once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that whoever needs it first makes, for all processes of this test run; nobody writes into it later."""
    (folder := ONCE / name).mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder / "checkout", ignore_errors=True)
            make(folder / "checkout")
            (folder / "made").touch()
    return folder / "checkout"


def migrated() -> Path:
    """An empty MLflow database; MLflow needs seconds to make one."""
    return once("store", lambda folder: connect(f"sqlite:///{folder}/mlflow.db")) / "mlflow.db"


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No store set, before and after."""
    monkeypatch.delenv(URI, raising=False)
    yield
    os.environ.pop(URI, None)


@pytest.fixture
def checkout(tmp_path: Path, no_store: None) -> Path:
    """A checkout with an empty store of its own, which is the one in use."""
    return with_store(tmp_path / "checkout")


def with_store(root: Path) -> Path:
    """A folder with an empty store of its own, which is used from now on."""
    (root / "mlruns").mkdir(parents=True)
    shutil.copyfile(migrated(), root / "mlruns" / "mlflow.db")
    use_store(root)
    return root


@pytest.fixture
def closed_port() -> str:
    """The address of a server that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
