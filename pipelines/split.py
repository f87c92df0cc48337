"""Splitting stage, packed faces -> train, validation and test: `python -m pipelines split split=grouped`."""

import json
from pathlib import Path
from typing import Final

from mien.base.files import Outs, read_out, rerun
from mien.base.listener import Listener
from pipelines.compose import Config

INGESTED: Final = Path("build/ingest")


def run(config: Config, listener: Listener) -> None:
    """Share out the faces, and write the audit of what that did and prevented."""
    import numpy as np
    import pandas as pd

    from mien.crop.packed import open_faces
    from mien.sources.fingerprints import THUMBNAILS
    from mien.split.parts import split_faces

    packed = open_faces(Path("build/crop"))
    faces = read_out(INGESTED / "faces.parquet", pd.read_parquet, rerun("ingest"))
    thumbnails = read_out(INGESTED / THUMBNAILS, lambda file: np.load(file, mmap_mode="r"), rerun("ingest"))
    split = split_faces(faces, thumbnails, packed, config.split)
    about = {
        "digest": split.digest,
        "test_faces": split.test_faces,
        "data_digest": packed.digest,
        "parts": {name: len(rows) for name, rows in split.parts.items()},
    }
    with Outs("split") as outs:
        build = outs.folder("build/split")
        for name, rows in split.parts.items():
            rows.to_parquet(build / f"{name}.parquet", index=False)
        split.left_out.to_csv(build / "left_out.csv", index=False)
        (build / "split.json").write_text(json.dumps(about, indent=2) + "\n")
        outs.path("reports/split.json").write_text(json.dumps(split.audit, indent=2) + "\n")
    naive = split.audit["naive_row_split"]
    print(
        f"split: {', '.join(f'{len(rows):,} {name}' for name, rows in split.parts.items())}; a random split of rows "
        f"would have leaked {naive['test_faces_sharing_group']:,} of {naive['test_faces']:,} test faces"
    )
    if cleaned := split.audit["clean_training"]:
        why = ", ".join(f"{n:,} {reason}" for reason, n in cleaned["reasons"].items())
        print(f"  Left out of training: {why}; see build/split/left_out.csv.")
    largest = max(map(int, split.audit["groups"]["sizes"]))
    if not split.audit["official_split"] and largest > min(config.split.shares) * len(packed.index):
        print(f"  {largest:,} faces are linked by photos, copies or persons, and stay together, so shares cannot hold.")
    if key := split.audit["person_key"]:
        print(
            f"  File names begin with {key['values']:,} recurring words: if these name persons, "
            f"set person: '{key['pattern']}' in conf/data, so that nobody is in two parts."
        )
