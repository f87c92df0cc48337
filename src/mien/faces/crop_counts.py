"""How many faces of each class were kept, and how many were dropped for which reason."""

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

UNKNOWN = "unknown"  # the class of a row whose label could not be read


@dataclass(frozen=True)
class CropCounts:
    """Counts by class name, in the order of the classes."""

    photos: int  # that gave a face
    faces: int
    kept: dict[str, int]
    dropped: dict[str, dict[str, int]]  # reason -> class -> faces
    clamped: int  # faces whose box left the photo in part
    reduced: dict[str, int]  # "1/2": photos decoded at half their size

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        total = sum(sum(classes.values()) for classes in self.dropped.values())
        return asdict(self) | {"dropped_total": total}

    def table(self) -> pd.DataFrame:
        """Columns `label`, `outcome` ("kept" or a reason) and `faces`, a row per pair that occurs."""
        rows = [{"label": label, "outcome": "kept", "faces": n} for label, n in self.kept.items()]
        for reason, classes in self.dropped.items():
            rows += [{"label": label, "outcome": reason, "faces": n} for label, n in classes.items()]
        return pd.DataFrame(rows)


def count_crops(
    index: pd.DataFrame, quarantine: pd.DataFrame, classes: tuple[str, ...], clamped: int, reduced: dict[int, int]
) -> CropCounts:
    """Counts from the index of packed faces and the quarantine."""
    labels = index["label"].value_counts()
    kept = {name: int(labels.get(i, 0)) for i, name in enumerate(classes)}
    dropped = {
        str(reason): _by_class(rows["label"], classes) for reason, rows in quarantine.groupby("reason", sort=True)
    }
    by = {f"1/{factor}": photos for factor, photos in sorted(reduced.items())}
    return CropCounts(index["image"].nunique(), len(index), kept, dropped, clamped, by)


def _by_class(labels: pd.Series, classes: tuple[str, ...]) -> dict[str, int]:
    counts = labels.replace("", UNKNOWN).value_counts()
    return {name: int(counts[name]) for name in (*classes, UNKNOWN) if name in counts}
