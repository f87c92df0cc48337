"""Ingestion stage, raw data set -> faces table: `python -m pipelines ingest data=sample`."""

import json
from pathlib import Path
from typing import Any

from mien.base.files import Outs
from mien.base.listener import Listener
from mien.base.state import state_folder
from pipelines.compose import Config


def run(config: Config, listener: Listener) -> None:
    """Read the raw data set and write what it holds and what in it cannot be used."""
    import pandas as pd

    from mien.base.classes import count_labels
    from mien.sources.fingerprints import THUMBNAILS, fingerprint
    from mien.sources.source import check_slices, get_source, name_persons

    source, folder = get_source(config.data), Path(config.data.path)
    ingested = source.ingest(folder)
    check_slices(config.data.slices, ingested.faces.columns)
    photos = source.photos(folder, state_folder() / "unpacked")
    counts = count_labels(ingested.faces["label"], ingested.classes)
    report: dict[str, Any] = {
        "data": config.data.name,
        "faces": len(ingested.faces),
        "photos": int(ingested.faces["image"].nunique()),
        "unlabelled_photos": ingested.unlabelled_photos,
        "classes": counts,
        "problems": {str(reason): int(n) for reason, n in ingested.problems["reason"].value_counts().items()},
    }
    with Outs("ingest") as outs:
        build = outs.folder("build/ingest")
        faces = fingerprint(name_persons(ingested.faces, config.data.person), photos, build / THUMBNAILS)
        faces.to_parquet(build / "faces.parquet", index=False)
        ingested.problems.to_csv(build / "problems.csv", index=False)
        pd.Series(counts, name="faces").rename_axis("label").to_csv(build / "classes.csv")
        outs.path("reports/ingest.json").write_text(json.dumps(report, indent=2) + "\n")
    many = len(ingested.problems)
    found = f"{many:,} problem{'s' * (many != 1)}"
    print(f"ingest: {report['faces']:,} faces in {report['photos']:,} photos, {found}")
    for note in ingested.notes:
        print(f"  {note}")
    if absent := [label for label, faces in counts.items() if not faces]:
        print(f"  No face is labelled {', '.join(absent)}: a model cannot learn that.")
