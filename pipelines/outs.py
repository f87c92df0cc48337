"""Outs that appear together, by rename, when their stage has succeeded: nothing half-written is taken for whole."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Final, Self

WAITING: Final = Path("build/.partial")


class Outs:
    """A stage's outs while they are written.

    `path("reports/crop.json")` is where to write that file (or folder); when the block ends without an
    exception every one is renamed to its name, and after an exception or a kill none is there.
    """

    def __init__(self, stage: str, root: Path | None = None) -> None:
        self.root = root or Path.cwd()
        self._waiting = self.root / WAITING / stage
        self._paths: list[str] = []

    def __enter__(self) -> Self:
        """Forget what a killed run of this stage left."""
        shutil.rmtree(self._waiting, ignore_errors=True)
        self._waiting.mkdir(parents=True)
        return self

    def path(self, name: str) -> Path:
        """Where to write the out that will be called `name`, from the repository root."""
        self._paths.append(name)
        waiting = self._waiting / name
        waiting.parent.mkdir(parents=True, exist_ok=True)
        return waiting

    def folder(self, name: str) -> Path:
        """As `path`, for an out that is a folder; it exists already."""
        folder = self.path(name)
        folder.mkdir()
        return folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Rename all, or remove all."""
        if kind is None:
            for name in self._paths:
                self._appear(name)
        shutil.rmtree(self._waiting, ignore_errors=True)

    def _appear(self, name: str) -> None:
        final = self.root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.is_dir():
            shutil.rmtree(final)
        (self._waiting / name).replace(final)
