"""What one person pushed, another one pulls: `dvc repro` then runs nothing, and fills an empty store."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.pipelines.workspace import Workspace

KEY, SECRET = "somebody", secrets.token_hex(20)


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3 server with an empty bucket `mien`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket="mien")
    yield url
    server.stop()


def cloned(workspace: Workspace, folder: Path) -> Workspace:
    """A clone without data, cache or store."""
    subprocess.run(["git", "clone", "-q", str(workspace.folder), str(folder)], check=True)
    return Workspace(folder)


def check_same(origin: Workspace, clone: Workspace) -> None:
    """Nothing runs in the clone but `register`, and the numbers are the same."""
    assert clone.stale() == set()
    said = clone.run("dvc", "repro").stdout
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    assert ran == ["register"]
    assert (clone.folder / "mlruns/mlflow.db").exists()  # its own store, with the version registered anew
    assert clone.report("register")["version"] == 1
    for name in ("metrics", "register", "train"):
        assert clone.report(name) == origin.report(name)
    assert clone.run("git", "status", "--porcelain").stdout == " M .dvc/config\n"


def test_a_clone_pulls_from_a_folder_and_runs_nothing(workspace: Workspace, tmp_path: Path) -> None:
    clone = cloned(workspace, tmp_path / "clone")
    with workspace.kept(".dvc/config"):
        for here in (workspace, clone):
            here.run("dvc", "remote", "add", "--default", "shared", str(tmp_path / "remote"))
        workspace.run("dvc", "push", "--run-cache")
        clone.run("dvc", "pull", "--run-cache")
        check_same(workspace, clone)


@pytest.mark.slow
def test_a_clone_pulls_from_s3_with_keys_that_never_reach_git(workspace: Workspace, s3: str, tmp_path: Path) -> None:
    """Keys from the environment in one checkout, from DVC's local configuration in the other."""
    clone = cloned(workspace, tmp_path / "clone")
    with workspace.kept(".dvc/config"):
        for here in (workspace, clone):
            here.run("dvc", "remote", "add", "--default", "shared", "s3://mien/dvc")
            here.run("dvc", "remote", "modify", "shared", "endpointurl", s3)
        workspace.run("dvc", "push", "--run-cache", AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
        clone.run("dvc", "remote", "modify", "--local", "shared", "access_key_id", KEY)
        clone.run("dvc", "remote", "modify", "--local", "shared", "secret_access_key", SECRET)
        clone.run("dvc", "pull", "--run-cache")
        check_same(workspace, clone)
    assert SECRET in (clone.folder / ".dvc/config.local").read_text()
    tracked = clone.run("git", "ls-files").stdout.split()
    assert not [name for name in tracked if SECRET.encode() in (clone.folder / name).read_bytes()]
