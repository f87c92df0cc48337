"""Items made in another thread before they are asked for."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], n: int, thread: Executor) -> Iterator[Item]:
    """The items, up to `n` of which are made ahead by an executor of one thread; what `items` raises is raised here."""
    waiting = deque(thread.submit(next, items, None) for _ in range(n))
    try:
        while (item := waiting.popleft().result()) is not None:
            yield item
            waiting.append(thread.submit(next, items, None))
    finally:
        for later in waiting:
            later.cancel()
