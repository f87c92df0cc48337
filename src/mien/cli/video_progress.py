"""A bar on a terminal while a video is worked on; nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mien.cli.output import without_libraries_on_stderr


@contextmanager
def bar_of(name: str) -> Iterator[Callable[[int, int], None]]:
    """What takes the number of frames that are done, and of those that are expected (0: unknown)."""
    from tqdm import tqdm

    with without_libraries_on_stderr(), tqdm(desc=name, unit="frame", leave=False, disable=None) as bar:

        def progress(done: int, expected: int) -> None:
            bar.total = max(expected, done) if expected else None
            bar.update(done - bar.n)

        yield progress
