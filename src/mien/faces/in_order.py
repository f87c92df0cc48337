"""Work on every core, results in order, a bounded number in flight."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], workers: int, ahead: int = 4
) -> Iterator[Result]:
    """`work` of each task, in the tasks' order; at most `ahead` tasks a worker are begun and not yet taken.

    Threads, since OpenCV's decoding and resizing run without the interpreter's lock: as fast as processes
    here, and nothing is copied from one to another.
    """
    with _opencv_in_one_thread(), ThreadPoolExecutor(workers) as pool:
        begun: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                begun.append(pool.submit(work, task))
                if len(begun) >= ahead * workers:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def _opencv_in_one_thread() -> Iterator[None]:
    """N workers, each with OpenCV's own N threads, would fight for the cores."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
