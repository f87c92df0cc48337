"""Splitting stage, packed faces -> train, validation and test: `python -m pipelines split split=grouped`."""

import json
from pathlib import Path

from mien.base.files import Outs
from mien.base.listener import Listener
from pipelines.compose import Config


def run(config: Config, listener: Listener) -> None:
    """Share out the faces, and write the audit of what that did and prevented."""
    from mien.crop.packed import open_faces
    from mien.split.parts import split_faces

    packed = open_faces(Path("build/crop"))
    split = split_faces(packed, config.split)
    about = {
        "digest": split.digest,
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
