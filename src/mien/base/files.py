"""Atomic file writes: outs and files appear whole, by rename."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A path to write to, of the file's own suffix; it becomes `file` when the block ends well, else it is gone.

    What is written waits in a hidden folder beside the file: who is killed leaves that, and nothing that looks whole.

    Raises:
        OSError: the folder cannot be made or written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".partial-") as waiting:
        part = Path(waiting) / file.name
        yield part
        part.replace(file)


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
