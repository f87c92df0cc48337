"""Real tracking stores for tests: an sqlite file migrated once, copied for each test."""

import functools
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.tracking.store import URI, connect, use_store


@functools.cache
def migrated() -> Path:
    """An empty MLflow database; MLflow needs seconds to make one."""
    folder = Path(tempfile.mkdtemp(prefix="mien-store-"))
    file = folder / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file


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
