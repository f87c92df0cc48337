"""Photos that stand in a data set several times, under different classes."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path


def conflicting_copies(photos: Iterable[tuple[Path, int, str]]) -> list[list[int]]:
    """Groups of positions in `photos` whose files hold the same bytes and are of different classes, in their order.

    Args:
        photos: file, size in bytes, and class of each. Only files whose size occurs in two classes are read;
            one that may not be read is in no group.
    """
    by_size: dict[int, list[tuple[int, Path, str]]] = defaultdict(list)
    for position, (path, size, name) in enumerate(photos):
        by_size[size].append((position, path, name))
    groups: list[list[int]] = []
    for files in by_size.values():
        if len({name for _, _, name in files}) > 1:
            groups += _by_content(files)
    return sorted(groups)


def _by_content(files: list[tuple[int, Path, str]]) -> list[list[int]]:
    by_digest: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
    for position, path, name in files:
        try:
            by_digest[hashlib.sha256(path.read_bytes()).digest()].append((position, name))
        except PermissionError:  # the crop stage will say so of this photo
            continue
    return [[p for p, _ in same] for same in by_digest.values() if len({name for _, name in same}) > 1]
