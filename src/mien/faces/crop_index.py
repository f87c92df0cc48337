"""What became of each row while photos are cut, in 56 bytes a row."""

from collections import Counter

import numpy as np
import pandas as pd

from mien.faces.photo_faces import DIGEST_BYTES, PhotoFaces
from mien.faces.selection import dropped_rows

COLUMNS = (
    *("row", "face_id", "image", "label", "confidence", "top", "left", "right", "bottom", "face_size"),
    *("source_split", "photo_digest", "face_digest", "votes"),
)


class CropIndex:
    """Collects what photos gave, and becomes the index and the quarantine at the end."""

    def __init__(self, selected: pd.DataFrame) -> None:
        self._selected = selected
        self._n = 0
        self._rows = np.zeros(len(selected), np.int64)
        self._boxes = np.zeros((len(selected), 4), np.int32)
        self._digests = np.zeros((len(selected), 2, DIGEST_BYTES), np.uint8)  # of the photo, of the face
        self._dropped: list[tuple[int, str, str]] = []
        self.clamped = 0
        self.reduced: Counter[int] = Counter()

    def note(self, photo: PhotoFaces) -> None:
        """Take what one photo gave."""
        for row, box, digest in photo.kept:
            self._rows[self._n] = row
            self._boxes[self._n] = box
            self._digests[self._n] = np.frombuffer(photo.digest + digest, np.uint8).reshape(2, DIGEST_BYTES)
            self._n += 1
        self._dropped += photo.dropped
        self.clamped += photo.clamped
        if photo.kept:
            self.reduced[photo.reduced] += 1

    def index(self) -> pd.DataFrame:
        """The index of the packed faces, in the order in which they were taken."""
        taken = self._selected.iloc[self._rows[: self._n]].reset_index(drop=True)
        boxes = self._boxes[: self._n]
        columns = {
            "row": np.arange(self._n, dtype=np.int64),
            **{name: boxes[:, i] for i, name in enumerate(("top", "left", "right", "bottom"))},
            "face_size": np.minimum(boxes[:, 3] - boxes[:, 0], boxes[:, 2] - boxes[:, 1]),
            "photo_digest": [digest.tobytes().hex() for digest in self._digests[: self._n, 0]],
            "face_digest": [digest.tobytes().hex() for digest in self._digests[: self._n, 1]],
        }
        return taken.assign(**columns)[list(COLUMNS)]

    def quarantine(self) -> pd.DataFrame:
        """The rows that gave no face, reason by reason, each in the table's order."""
        parts = [dropped_rows(self._selected.iloc[:0], "", [])]
        for reason in sorted({reason for _, reason, _ in self._dropped}):
            some = sorted((row, detail) for row, why, detail in self._dropped if why == reason)
            rows = self._selected.iloc[[row for row, _ in some]]
            parts.append(dropped_rows(rows, reason, [detail for _, detail in some]))
        return pd.concat(parts, ignore_index=True)
