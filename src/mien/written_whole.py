"""Files that people wait for appear by rename: whole, or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
