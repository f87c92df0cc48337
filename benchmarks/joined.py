"""Data set of ExpW's faces, and FER2013's to train on: is a small data set better off with a large one beside it?

    python -m benchmarks.joined

data/expw and data/fer2013 must be there, as in docs/howto/own-data.md. It writes data/joined and
conf/data/joined.yaml. FER2013's Training has the part `train`, so that `mien folds` tests ExpW's faces alone:

    mien preset expw && sed -i 's/^data: .*/data: joined/; s/^split: .*/split: official_clean/' params.yaml
    mien folds
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pandas as pd

from benchmarks.packaged import ROOT, data_config
from mien.sources.source import get_source
from mien.sources.table import BOX

TARGET: Final = ROOT / "data" / "joined"
COLUMNS: Final = ["image", "label", *BOX, "confidence", "split"]
CONFIG: Final = """# ExpW, and FER2013's Training beside each fold (benchmarks/joined.py).
name: joined
source: table
path: data/joined
title: ExpW with FER2013
drawn: false
person: ""
slices: []
options: {}
"""


def faces_of(name: str, scratch: Path) -> pd.DataFrame:
    """The faces of a data set, with the columns of `source: table`; its photos are written to data/joined/NAME."""
    config = data_config(name)
    source, folder = get_source(config), ROOT / config.path
    ingested = source.ingest(folder)
    faces = ingested.faces.assign(label=ingested.faces["label"].map(dict(enumerate(ingested.classes))))
    if name == "fer2013":
        faces = faces[faces["source_split"] == "train"].assign(**dict.fromkeys((*BOX, "confidence")))
    photos, files = source.photos(folder, scratch), {}
    for image in faces["image"].unique():
        files[image] = f"{name}/{image}" if Path(image).suffix else f"{name}/{image}.pgm"
        file = TARGET / files[image]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photos.read(image))
    return faces.assign(split=faces["source_split"], image=faces["image"].map(files))[COLUMNS]


def main() -> None:
    """Write the photos, the table and the configuration."""
    with TemporaryDirectory() as scratch:
        tables = [faces_of(name, Path(scratch) / name) for name in ("expw", "fer2013")]
    pd.concat(tables).to_csv(TARGET / "faces.csv", index=False)
    (ROOT / "conf" / "data" / "joined.yaml").write_text(CONFIG, encoding="utf-8")
    print(f"data/joined: {len(tables[0]):,} faces of ExpW, {len(tables[1]):,} of FER2013 to train on")


if __name__ == "__main__":
    main()
