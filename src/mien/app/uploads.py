"""Upload folder: uploads kept until their answer, and deleted soon after."""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mien.app.turns import Refused

GRADIO_FOLDER: Final = "GRADIO_TEMP_DIR"  # where Gradio keeps uploads; read when the page is built


class Uploads:
    """A folder for uploads, in which no file grows old."""

    def __init__(self, folder: Path, keep_seconds: float) -> None:
        self.folder = folder.resolve()
        self._keep = keep_seconds

    def read(self, given: dict[str, Any] | None) -> bytes:
        """The bytes of an upload, of which a browser says `{"path": ...}`.

        Raises:
            Refused: there is none, it is none, or it was deleted meanwhile.
        """
        try:
            return self.file(given).read_bytes()
        except OSError as error:
            raise Refused("The upload is gone; please send it again.", 410) from error

    def file(self, given: dict[str, Any] | None) -> Path:
        """The file of an upload; one of any other folder is refused."""
        path = (given or {}).get("path")
        if not isinstance(path, str) or not path:
            raise Refused("There is no file; please choose one.", 400)
        try:
            file = Path(path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links in a circle
            raise Refused("There is no such upload.", 404) from error
        if not file.is_relative_to(self.folder):
            raise Refused("There is no such upload.", 404)
        return file

    def bytes_on_disk(self) -> int:
        """The size of all uploads that wait."""
        return sum(size for _, size, _ in self._files())

    def sweep(self) -> None:
        """Delete what was uploaded long enough ago, half-sent files too."""
        oldest = time.time() - self._keep
        for file, _, written in self._files():
            if written < oldest:
                file.unlink(missing_ok=True)
                if file.parent != self.folder and not any(file.parent.iterdir()):
                    file.parent.rmdir()

    def _files(self) -> Iterator[tuple[Path, int, float]]:
        for place, _, names in os.walk(self.folder):
            for name in names:
                try:
                    about = (Path(place) / name).stat()
                except FileNotFoundError:
                    continue
                yield Path(place) / name, about.st_size, about.st_mtime


@contextmanager
def upload_folder(keep_seconds: float) -> Iterator[Uploads]:
    """A folder that Gradio uploads into, swept while the block lasts and deleted after it."""
    before = os.environ.get(GRADIO_FOLDER)
    closed = threading.Event()
    with tempfile.TemporaryDirectory(prefix="mien-app-", ignore_cleanup_errors=True) as folder:
        uploads = Uploads(Path(folder), keep_seconds)
        os.environ[GRADIO_FOLDER] = str(uploads.folder)
        sweeper = threading.Thread(target=_keep_swept, args=(uploads, closed, keep_seconds / 4), daemon=True)
        sweeper.start()
        try:
            yield uploads
        finally:
            closed.set()
            sweeper.join()
            os.environ.pop(GRADIO_FOLDER)
            if before is not None:
                os.environ[GRADIO_FOLDER] = before


def _keep_swept(uploads: Uploads, closed: threading.Event, every: float) -> None:
    while not closed.wait(every):
        uploads.sweep()
