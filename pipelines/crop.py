"""Cropping stage, photos -> packed faces: `python -m pipelines crop data=sample crop=rgb64`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mien.base.files import Outs, read_out, rerun
from mien.base.listener import Listener
from mien.base.state import state_folder
from pipelines.compose import Config

INGESTED: Final = Path("build/ingest")
REMEDY: Final = rerun("ingest")


def run(config: Config, listener: Listener) -> None:
    """Cut every face that passes the filter, and count what was cut and what was not."""
    import pandas as pd

    from mien.crop.cropping import crop_faces
    from mien.sources.source import FACES_DTYPES, get_source

    faces = read_out(INGESTED / "faces.parquet", lambda file: pd.read_parquet(file, columns=list(FACES_DTYPES)), REMEDY)
    tables: dict[str, Any] = {"dtype": str, "keep_default_na": False}
    problems = read_out(INGESTED / "problems.csv", lambda file: pd.read_csv(file, **tables), REMEDY)
    classes = read_out(INGESTED / "classes.csv", lambda file: pd.read_csv(file, usecols=["label"], **tables), REMEDY)
    photos = get_source(config.data).photos(Path(config.data.path), state_folder() / "unpacked")
    with Outs("crop") as outs:
        build = outs.folder("build/crop")
        counts = crop_faces(faces, photos, config.crop, build, classes=tuple(classes["label"]), problems=problems)
        counts.table().to_csv(outs.path("reports/crop/kept_dropped.csv"), index=False)
        outs.path("reports/crop.json").write_text(json.dumps(asdict(counts), indent=2) + "\n")
    dropped = ", ".join(f"{sum(rows.values()):,} {reason}" for reason, rows in counts.dropped.items())
    print(f"crop: {counts.faces:,} faces of {counts.photos:,} photos; dropped: {dropped or 'none'}")
