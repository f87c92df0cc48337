"""The disk holds data and outs once: they and DVC's cache are the same files, which only `dvc unprotect` opens."""

import os
from pathlib import Path

from tests.pipelines.workspace import Workspace


def cached(workspace: Workspace) -> dict[int, Path]:
    """The cache's objects by their inode."""
    return {f.stat().st_ino: f for f in (workspace.folder / ".dvc/cache/files").rglob("*") if f.is_file()}


def test_data_and_outs_are_links_to_the_cache_that_cannot_be_written(workspace: Workspace) -> None:
    objects = cached(workspace)
    large = [
        "data/sample/origin.7z.001",
        "build/crop/faces.npy",
        "build/train/model.safetensors",
        "reports/report.html",
    ]
    for name in large:
        status = (workspace.folder / name).stat()
        assert status.st_ino in objects, name
        assert status.st_mode & 0o222 == 0, name


def test_an_unprotected_label_file_can_be_edited_and_the_cache_keeps_the_old_one(workspace: Workspace) -> None:
    labels = workspace.folder / "data/sample/label.lst"
    kept = cached(workspace)[labels.stat().st_ino]
    before = kept.read_bytes()
    workspace.run("dvc", "unprotect", "data/sample/label.lst")
    try:
        assert os.access(labels, os.W_OK) and labels.stat().st_mode & 0o200
        with labels.open("a") as file:
            file.write("another.jpg 0 1 1 9 9 50.0 3\n")
        assert kept.read_bytes() == before
        assert "ingest" in workspace.stale()
    finally:
        workspace.run("dvc", "checkout", "--force", "data.dvc")
    assert labels.read_bytes() == before
    assert labels.stat().st_ino in cached(workspace)
