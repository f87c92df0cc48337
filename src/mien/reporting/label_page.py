"""The suspects as one HTML file to look through: pictures inside, filters and pages, nothing from the network."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mien.reporting import evaluation_page as report

MOST: Final = 5000  # faces on the page; labels.csv has all
QUALITY: Final = 88  # of the JPEGs: a page of 5,000 faces stays at some 10 to 20 MB


def render_labels(ranked: pd.DataFrame, pixels: np.ndarray, classes: tuple[str, ...], about: Mapping[str, Any]) -> str:
    """The page.

    Args:
        ranked: what `rank_labels` gave, with `row`, the face's row in `pixels`.
        pixels: (N, H, W, C) uint8.
        classes: names of the classes.
        about: `title`, `model`, `folds`, `epochs`, `accuracy` (out of fold) and `faces`, for the head of the page.
    """
    suspects = ranked[ranked["suspect"]]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = report.percent
    shown = suspects.head(MOST)
    return environment.get_template("labels.html").render(
        about=about,
        suspects=len(suspects),
        shown=len(shown),
        classes=classes,
        pairs=pairs(suspects, classes),
        given=suspects["label"].value_counts(),
        faces=[_face(row, pixels[row["row"]]) for row in shown.to_dict("records")],
    )


def pairs(suspects: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    """How many suspects of each given class (rows) are suggested to be each other class (columns)."""
    counts = pd.crosstab(suspects["label"], suspects["suggested"])
    return counts.reindex(index=list(classes), columns=list(classes), fill_value=0)


def _face(row: Mapping[Any, Any], pixels: np.ndarray) -> list[Any]:
    """What the page's script takes of a face; lists, as names in thousands of objects would double the page."""
    return [
        row["face_id"],
        row["image"],
        row["part"],
        row["label"],
        row["suggested"],
        round(float(row["p_label"]), 3),
        round(float(row["p_suggested"]), 3),
        _jpeg(pixels),
    ]


def _jpeg(face: np.ndarray) -> str:
    stored = face if face.shape[2] == 1 else cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return base64.b64encode(data).decode("ascii")
