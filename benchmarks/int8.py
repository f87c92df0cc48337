"""What int8 costs on faces that chose nothing: the test set, both files on the same faces, paired.

    python -m benchmarks.int8 [MODEL]

Runs in a checkout whose build/crop and build/split are those of MODEL (by default the champion of params.yaml's data
set): both files are exported as `mien export` does it, int8 with ranges from training faces, and answer the test faces.
Intervals come from resampling photos.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from mien.base.errors import UserError
from mien.base.records import read_record
from mien.cli.workspace import registered_model
from mien.crop.packed import open_faces
from mien.evaluation.intervals import paired_bootstrap
from mien.inference.address import MeasuredModel, open_measured
from mien.inference.export import agreement, export_onnx, own_faces, probabilities_in
from mien.tracking.store import use_store

CROP = Path("build/crop")
SPLIT = Path("build/split")


def test_rows(measured: MeasuredModel) -> pd.DataFrame:
    """The test index, which must be of the split that the model was trained with."""
    here = read_record(SPLIT / "split.json", {"digest": str}, "`dvc repro split` writes it anew")["digest"]
    if here != measured.lineage["split_digest"]:
        raise UserError(f"{SPLIT} is another split than the one that {measured.name} was trained with.")
    return pd.read_parquet(SPLIT / "test.parquet")


def main(model: str | None = None) -> None:
    """Print size, agreement and the paired differences."""
    use_store(Path.cwd())
    measured = open_measured(model or f"models:/{registered_model(Path.cwd(), None)}@champion")
    test, packed, faces = test_rows(measured), open_faces(CROP), own_faces(measured, CROP)
    pixels, labels = np.ascontiguousarray(packed.pixels[test["row"].to_numpy()]), test["label"].to_numpy()
    answers, sizes = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind in ("float32", "int8"):
            file = export_onnx(measured, faces, Path(scratch) / f"{kind}.onnx", int8=kind == "int8").file
            answers[kind], sizes[kind] = probabilities_in(file, pixels), file.stat().st_size / 1e6
    one, other = answers["float32"], answers["int8"]
    apart = agreement(one, other)
    print(f"{measured.name}, {len(test):,} test faces")
    print(f"size: {sizes['float32']:.2f} MB, int8 {sizes['int8']:.2f} MB")
    print(f"same expression: {apart.same:,}; a probability moves by up to {apart.difference:.3f}")
    right = [(answer.argmax(axis=1) == labels).mean() for answer in (one, other)]
    print(f"accuracy: {right[0]:.4f}, int8 {right[1]:.4f}")
    for name, change in paired_bootstrap(labels, one, other, test["photo_digest"].to_numpy()).items():
        print(f"{name}: {change.value:+.4f} (95 % interval {change.low:+.4f} to {change.high:+.4f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
