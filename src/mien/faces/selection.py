"""Which rows of the faces table are to be cut: the confidence filter and the random sample after it."""

import numpy as np
import pandas as pd

from mien.errors import UserError
from mien.expressions import WITH_CONTEMPT
from mien.faces.settings import CropConfig
from mien.sources.table import problems_table


def select_faces(faces: pd.DataFrame, config: CropConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows to cut, in the table's order, and the rows left out, as a problems table.

    A face is kept where its confidence is above `min_confidence` or missing. `max_rows` then takes a random
    sample without replacement, the same for the same table and `sample_seed`.

    Raises:
        UserError: no row is left; names the threshold, the counts and the spread of the confidences.
    """
    low = (faces["confidence"] <= config.min_confidence).to_numpy()
    if low.all():
        raise UserError(_nothing_left(faces["confidence"], config.min_confidence))
    above = np.flatnonzero(~low)
    chosen = above
    if 0 < config.max_rows < len(above):
        draw = np.random.default_rng(config.sample_seed).choice(above, config.max_rows, replace=False)
        chosen = np.sort(draw)
    not_drawn = np.setdiff1d(above, chosen)
    threshold = f"is not above min_confidence {config.min_confidence:g}"
    details = [f"confidence {value:g} {threshold}" for value in faces["confidence"][low]]
    left_out = (
        dropped_rows(faces[low], "low_confidence", details),
        dropped_rows(faces.iloc[not_drawn], "not_sampled", [f"max_rows is {config.max_rows}"] * len(not_drawn)),
    )
    return faces.iloc[chosen], pd.concat(left_out, ignore_index=True)


def dropped_rows(faces: pd.DataFrame, reason: str, details: list[str]) -> pd.DataFrame:
    """Rows of the faces table as rows of the problems table; `where` is the photo."""
    rows = zip(faces["face_id"], faces["image"], faces["label"], details, strict=True)
    return problems_table(
        [
            {"where": i, "face_id": f, "image": i, "label": WITH_CONTEMPT[label], "reason": reason, "detail": detail}
            for f, i, label, detail in rows
        ]
    )


def _nothing_left(confidence: pd.Series, threshold: float) -> str:
    quantiles = ", ".join(f"{q:.0%} {confidence.quantile(q):g}" for q in (0.1, 0.5, 0.9, 0.99))
    return (
        f"none of {len(confidence):,} faces has a confidence above min_confidence {threshold:g}: they go from "
        f"{confidence.min():g} to {confidence.max():g} (quantiles {quantiles}); lower min_confidence in conf/crop."
    )
