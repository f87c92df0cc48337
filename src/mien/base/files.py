"""Atomic file writes: a file, a folder or all outs of a stage appear complete, by rename."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

PARTIAL: Final = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which replaces `path` when the block succeeds; after an error it is gone.

    It lies in a hidden folder beside `path`, where the next writer removes what a killed process left. Two processes
    must not write one path at the same time. An OSError where the folder cannot be made or written.
    """
    waiting = path.parent / f"{PARTIAL}-{path.name}"
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    try:
        yield waiting / path.name
        _move(waiting / path.name, path)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


class Outs:
    """A stage's outs while they are written.

    `path("reports/crop.json")` is where to write that file or folder. When the block succeeds, each is renamed to its
    name; after an error or a kill none is there.
    """

    def __init__(self, stage: str, root: Path | None = None) -> None:
        self.root = root or Path.cwd()
        self._waiting = stage_folder(self.root) / stage
        self._names: list[str] = []

    def __enter__(self) -> Self:
        """Remove what a killed run of this stage left."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        self._waiting.mkdir(parents=True)
        return self

    def path(self, name: str) -> Path:
        """Where to write the out that will be called `name`, from the repository root."""
        self._names.append(name)
        waiting = self._waiting / name
        waiting.parent.mkdir(parents=True, exist_ok=True)
        return waiting

    def folder(self, name: str) -> Path:
        """As `path`, for an out that is a folder; it exists already."""
        folder = self.path(name)
        folder.mkdir()
        return folder

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            for name in self._names:
                _move(self._waiting / name, self.root / name)
        shutil.rmtree(self._waiting, ignore_errors=True)


def stage_folder(root: Path) -> Path:
    """Where stages of a workspace keep unfinished outs and their locks."""
    return root / "build" / PARTIAL


def _move(source: Path, target: Path) -> None:
    """Rename a file or folder, in place of what is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    source.replace(target)
