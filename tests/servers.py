"""Real servers for tests: MLflow over sqlite and over PostgreSQL, on free ports of this machine, gone at the end."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stores import migrated

DEBIAN = Path("/usr/lib/postgresql")  # keeps the server's programs off the PATH


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[str]:
    """A lean MLflow server that keeps the artifacts itself; its address."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    command += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts", "--workers", "1"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log, process_group=0)
        try:
            wait_for(lambda: answers(address), process, folder / "server.log")
            yield address
        finally:
            os.killpg(process.pid, 9)
            process.wait()


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL server with an empty database; its SQLAlchemy address. Skips where Debian's package is missing."""
    programs = postgresql_programs()
    # initdb refuses to run as root: then the package's own user runs it, in a folder that this user can reach.
    user = next((u for u in ("postgres", "nobody") if has_user(u)), "nobody") if os.geteuid() == 0 else ""
    folder = Path(tempfile.mkdtemp(prefix="mien-postgresql-"))
    if user:
        shutil.chown(folder, user)
    change: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    port = free_port()
    make = [str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "mien", "--no-sync"]
    subprocess.run(make, check=True, **change, **quiet)
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    serve = [str(programs / "postgres"), "-D", str(folder / "data")]
    serve += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen(serve, **change, **quiet)
    try:
        address = f"mien@127.0.0.1:{port}/postgres"
        wait_for(lambda: takes_sql(f"postgresql://{address}"), process, None)
        yield f"postgresql+psycopg2://{address}"  # SQLAlchemy 2.1 takes plain `postgresql` for psycopg 3
    finally:
        process.send_signal(3)  # "immediate shutdown": its processes go at once, nobody needs the data
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def postgresql_programs() -> Path:
    """The folder with initdb and postgres, the newest version's."""
    found = shutil.which("initdb")
    folders = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda file: float(file.parts[-3]))
    if not found and not folders:
        pytest.skip(f"PostgreSQL is not installed for {getpass.getuser()}: no initdb (Debian: apt install postgresql)")
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed (the extra `postgresql`)")
    return folders[-1].parent if folders else Path(str(found)).resolve().parent


def has_user(name: str) -> bool:
    return any(entry.pw_name == name for entry in pwd.getpwall())


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.read() == b"OK")
    except OSError:
        return False


def takes_sql(uri: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(uri).close()
    except psycopg2.OperationalError:
        return False
    return True


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """A test fails where it does not happen within so many seconds."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def wait_for(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path | None) -> None:
    end = time.monotonic() + 120
    while not ready():
        said = log.read_text()[-2000:] if log else ""
        assert process.poll() is None and time.monotonic() < end, f"the server did not start: {said}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def server_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server-on-sqlite")
    shutil.copyfile(migrated(), folder / "mlflow.db")
    with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder) as address:
        yield address


@pytest.fixture(scope="session")
def server_on_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgresql() as database, mlflow_server(database, tmp_path_factory.mktemp("server-on-postgresql")) as address:
        yield address
