"""Fingerprints of photos and faces: digest, size and thumbnail, for finding copies before cropping."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import cv2
import joblib
import numpy as np
import pandas as pd

from mien.base.listener import progress_bar
from mien.runtime.cut import Box, BoxOutside, cut_face, face_box
from mien.runtime.decode import UnreadablePhoto, decode_pixels, read_header
from mien.runtime.spec import CutSpec
from mien.sources.photos import PhotoMissing, Photos

T = TypeVar("T")
THUMBNAILS: Final = "thumbnails.npy"
THUMBNAIL: Final = CutSpec(32, "grey")
BOX: Final = list(Box._fields)
MAX_MEGAPIXELS: Final = 100.0  # a larger photo gets no thumbnail
PHOTOS_PER_TASK: Final = 8  # handing over a task costs about as much as 1/20 of decoding a photo


def fingerprint(faces: pd.DataFrame, photos: Photos, thumbnails: Path, progress: bool = True) -> pd.DataFrame:
    """The faces table, ordered by photo and face, with each photo's digest and size; thumbnails are written beside it.

    In that order nothing that follows depends on the order of the raw rows. `thumbnails` becomes an .npy file of
    (N, 32, 32) uint8 grey, the labelled boxes in the order of the table, black where nothing can be cut. A photo that
    cannot be read has an empty digest, one that cannot be decoded the size 0 x 0.
    """
    faces = faces.sort_values(["image", "face_id"], ignore_index=True)
    names, rows_of = rows_by_photo(faces)
    boxes = faces[BOX].to_numpy()
    size = (len(faces), THUMBNAIL.size, THUMBNAIL.size)
    pixels = np.lib.format.open_memmap(thumbnails, mode="w+", dtype=np.uint8, shape=size)
    digests, sides = np.full(len(faces), "", object), np.zeros((len(faces), 2), np.int32)

    def work(i: int) -> tuple[str, int, int]:
        digest = ""
        try:
            data = photos.read(names[i])
            digest = short_digest(data)
            header = read_header(data, max_megapixels=MAX_MEGAPIXELS)
            photo = decode_pixels(data, header)
        except (PhotoMissing, UnreadablePhoto):
            return digest, 0, 0
        for row in rows_of[i]:
            with suppress(BoxOutside):
                box = face_box(boxes[row], header.height, header.width, margin=0, square=False)
                pixels[row] = cut_face(photo, box, THUMBNAIL)[..., 0]
        return digest, header.height, header.width

    for rows, (digest, *side) in zip(rows_of, each_photo(work, len(names), "ingest", progress=progress), strict=True):
        digests[rows], sides[rows] = digest, side
    pixels.flush()
    facts = {"photo_digest": digests, "photo_height": sides[:, 0], "photo_width": sides[:, 1]}
    return faces.assign(**facts).astype({name: faces[name].dtype for name in facts})


def photo_keys(faces: pd.DataFrame) -> pd.Series:
    """What names each face's photo, whatever it is called: its digest, or its name where it could not be read."""
    return faces["photo_digest"].where(faces["photo_digest"] != "", faces["image"])


def hashed(keys: Iterable[str], seed: int) -> np.ndarray:
    """A number for each key, (N,) uint64: an order at random in which no key's place depends on the others."""
    digests = (hashlib.sha256(f"{seed} {key}".encode()).digest() for key in keys)
    return np.array([int.from_bytes(digest[:8], "big") for digest in digests], np.uint64)


def rows_by_photo(faces: pd.DataFrame) -> tuple[list[str], list[np.ndarray]]:
    """The photos in the order in which the table first names them, and the positions of each one's rows."""
    codes, images = pd.factorize(faces["image"])
    order = np.argsort(codes, kind="stable")  # the rows of each photo side by side
    return images.tolist(), np.split(order, np.cumsum(np.bincount(codes))[:-1])


def each_photo(work: Callable[[int], T], n: int, name: str, *, workers: int = 0, progress: bool = True) -> Iterator[T]:
    """What `work` makes of the photos 0 to n - 1, in their order, by `workers` threads (0: one per core).

    Threads are as fast as processes here: OpenCV decodes and resizes without the interpreter's lock; nothing is copied.
    """

    def some(start: int) -> list[T]:
        return [work(i) for i in range(start, min(start + PHOTOS_PER_TASK, n))]

    pool = joblib.Parallel(workers or -1, prefer="threads", return_as="generator", pre_dispatch="4*n_jobs")
    tasks = (joblib.delayed(some)(start) for start in range(0, n, PHOTOS_PER_TASK))
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)  # N workers, each with OpenCV's own N threads, would fight for the cores
    try:
        with progress_bar(name, n, shown=progress) as step:
            photos, began = 0, time.perf_counter()
            for done in pool(tasks):
                yield from done
                photos += len(done)
                step(photos, f"{photos / (time.perf_counter() - began):,.0f} photos/s")
    finally:
        cv2.setNumThreads(before)


def short_digest(data: bytes) -> str:
    """The first 32 hex digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]
