"""Whole groups of faces to parts, so that every class is shared out as asked.

Groups of several faces are placed first, the largest at the front, each into the part that lacks most of what
the group holds (greedy, as in Sechidis et al., 2011); single faces then fill each class up to its exact share.
"""

from collections.abc import Sequence

import numpy as np

from mien.errors import UserError
from mien.expressions import WITH_CONTEMPT


def assign_groups(groups: np.ndarray, labels: np.ndarray, shares: Sequence[float], least: int, seed: int) -> np.ndarray:
    """The part of each face, (N,) int64 from 0 to len(shares) - 1; the faces of a group get the same.

    Args:
        groups: (N,) group of each face, any integers.
        labels: (N,) class of each face.
        shares: each part's share of every class; together 1.
        least: faces of each class that every part must get.
        seed: of the order among groups of one size, and among single faces.

    Raises:
        UserError: a class that occurs has too few faces or groups for that; names class, counts and need.
    """
    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    counts = np.zeros((len(sizes), len(WITH_CONTEMPT)), np.int64)
    np.add.at(counts, (groups, labels), 1)
    wanted = _targets(counts.sum(axis=0), np.asarray(shares), least)
    rng = np.random.default_rng(seed)
    part = np.full(len(sizes), -1)
    given = _place_large(part, counts, wanted, rng)
    _place_single(part, counts, wanted - given, rng)
    _check_least(part, counts, len(shares), least, shares)
    assigned: np.ndarray = part[groups]
    return assigned


def _targets(totals: np.ndarray, shares: np.ndarray, least: int) -> np.ndarray:
    """Faces of each class that each part is to get, (parts, classes); what a part lacks the largest part gives."""
    wanted: np.ndarray = shares[:, None] * totals
    short = np.clip(least - wanted, 0, None) * (totals > 0)
    wanted += short
    wanted[shares.argmax()] -= short.sum(axis=0)
    return wanted


def _place_large(part: np.ndarray, counts: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place groups of several faces; what each part was given of each class, (parts, classes)."""
    sizes = counts.sum(axis=1)
    large = rng.permutation(np.flatnonzero(sizes > 1))
    given = np.zeros_like(wanted)
    for group in large[np.argsort(-sizes[large], kind="stable")]:
        lacking = (wanted - given) / np.maximum(wanted, 1)
        part[group] = (lacking @ counts[group]).argmax()
        given[part[group]] += counts[group]
    return given


def _place_single(part: np.ndarray, counts: np.ndarray, lacking: np.ndarray, rng: np.random.Generator) -> None:
    """Single faces, class by class, in proportion to what each part still lacks."""
    single = counts.sum(axis=1) == 1
    for label in range(counts.shape[1]):
        waiting = rng.permutation(np.flatnonzero(single & (counts[:, label] > 0)))
        part[waiting] = np.repeat(np.arange(len(lacking)), _whole_shares(lacking[:, label], len(waiting), rng))


def _whole_shares(lacking: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` shared out in whole numbers as near to `lacking` as they go (largest remainders, ties drawn)."""
    need = np.clip(lacking, 0, None)
    if need.sum() == 0:
        need = np.ones_like(lacking)
    exact = need * (n / need.sum())
    whole: np.ndarray = np.floor(exact).astype(np.int64)
    rest = np.lexsort((rng.random(len(exact)), -(exact - whole).round(9)))[: n - whole.sum()]
    whole[rest] += 1
    return whole


def _check_least(part: np.ndarray, counts: np.ndarray, parts: int, least: int, shares: Sequence[float]) -> None:
    got = np.stack([counts[part == p].sum(axis=0) for p in range(parts)])
    for label in np.flatnonzero(counts.sum(axis=0)):
        if got[:, label].min() < least:
            groups = int((counts[:, label] > 0).sum())
            raise UserError(
                f"class {WITH_CONTEMPT[label]} has {counts[:, label].sum()} faces in {groups} groups that must stay "
                f"together, too few to give each of {parts} parts at least {least} (it takes {parts * least} faces in "
                f"{parts} groups or more); add faces of it, or lower min_per_class or the filter in conf."
            )
