"""Benchmark of the models in the package, from the shipped files: accuracy, calibration, size and time of a face.

    python -m benchmarks.packaged FOLDER

FOLDER has data/fer2013 and data/expw, as in docs/howto/own-data.md. FER2013's PrivateTest is the models'
own test part; ExpW they have never seen. Its faces are cut at the labelled boxes, and at YuNet's, where that finds
the labelled face (an overlap of a third or more). The numbers go to benchmarks/results/packaged.json, and a table
for docs/evidence/pretrained.md to standard output. The time is that of the best call, without detection.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.inference import seconds
from mien.base.settings import build_settings, read_yaml
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import PackedFaces, open_faces
from mien.evaluation.other_data import MeasuredModel, evaluate_elsewhere, metrics
from mien.evaluation.scoring import EvaluateConfig
from mien.inference.address import PACKAGED, ModelAddress, load_model_of
from mien.inference.annotation import overlap
from mien.inference.classifier import LoadedModel
from mien.runtime.cut import Box
from mien.runtime.decode import decode_photo
from mien.sources.detect import PredictConfig, build_detector
from mien.sources.source import DataConfig, get_source

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = Path(__file__).parent / "results" / "packaged.json"
FOUND: Final = 1 / 3  # overlap with the labelled box, from which the detector's box is that face's


def data_config(name: str) -> DataConfig:
    """A data set's file in conf/data."""
    return build_settings(DataConfig, read_yaml(ROOT / "conf" / "data" / f"{name}.yaml"), name)


def measured(graph: LoadedModel, data: str, part: str, folder: Path) -> dict[str, Any]:
    """Accuracy with its interval, and calibration, of a packaged model on a part of a data set."""
    lineage = {"data": graph.name, "model": graph.name, "data_digest": "", "split_digest": ""}
    model = MeasuredModel(graph, lineage | {"run": graph.name}, title=graph.title, drawn=graph.drawn)
    with tempfile.TemporaryDirectory() as scratch:
        crop, config = CropConfig(), EvaluateConfig()
        cross = evaluate_elsewhere(model, data_config(data), part, crop, config, folder, Path(scratch))
    told = metrics(cross)
    return {key: told[key] for key in ("n", "accuracy", "macro_f1", "unweighted_average_recall", "calibration_error")}


def place_of(face: Box, boxes: Sequence[Box]) -> int | None:
    """Which of the boxes is that of a face; None where none overlaps it enough."""
    best = max(range(len(boxes)), key=lambda i: overlap(boxes[i], face), default=None)
    return best if best is not None and overlap(boxes[best], face) >= FOUND else None


def detected_faces(folder: Path, scratch: Path) -> PackedFaces:
    """ExpW's faces at the boxes in which YuNet finds them; those of low confidence are left out, as in `measured`."""
    config = data_config("expw")
    source, detector = get_source(config), build_detector(PredictConfig(min_face=20))
    faces = source.ingest(folder / config.path).faces
    photos = source.photos(folder / config.path, folder / ".mien" / "unpacked")
    boxes, kept = [], []
    for _, rows in faces.groupby("image", sort=False):
        photo = decode_photo(photos.read(str(rows["image"].iloc[0])), max_megapixels=100)
        found = [face.box for face in detector.detect(photo)]
        for row in rows.itertuples():
            labelled = Box(**{edge: getattr(row, edge) for edge in Box._fields})
            if (place := place_of(labelled, found)) is not None:
                boxes.append(found[place])
                kept.append(row.Index)
    rows = faces.loc[kept].assign(**{edge: [getattr(box, edge) for box in boxes] for edge in Box._fields})
    crop_faces(rows, photos, CropConfig(48, "grey"), scratch)
    return open_faces(scratch)


def milliseconds(graph: LoadedModel, batch: int) -> float:
    """A face's, from its pixels to probabilities, in batches of this size."""
    faces = np.random.default_rng(0).integers(0, 256, (batch, *graph.spec.cut.shape), np.uint8)
    return round(1000 * seconds(lambda: graph.probabilities(faces)) / batch, 3)


def main(folder: Path) -> None:
    """Measure both files, write the numbers, and print the table."""
    rows: dict[str, dict[str, Any]] = {}
    scratch = tempfile.TemporaryDirectory()
    detected = detected_faces(folder, Path(scratch.name))
    for address in PACKAGED:
        file, graph = ModelAddress.parse(address).path, load_model_of(address)
        content = file.read_bytes()
        right = graph.logits(np.asarray(detected.pixels)).argmax(axis=1) == detected.index["label"].to_numpy()
        rows[address] = {
            "file": file.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "megabytes": round(len(content) / 1e6, 2),
            "private_test": measured(graph, "fer2013", "test", folder),
            "expw": measured(graph, "expw", "all", folder),
            "expw_yunet": {"n": len(right), "accuracy": round(float(right.mean()), 4)},
            "milliseconds": {"one face": milliseconds(graph, 1), "64 faces": milliseconds(graph, 64)},
        }
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("| model | MB | PrivateTest | calibration error | ExpW, labelled boxes | ExpW, YuNet's boxes | ms a face |")
    print("|---|---|---|---|---|---|---|")
    for address, row in rows.items():
        own, other, found = row["private_test"], row["expw"], row["expw_yunet"]
        shares = [
            f"{part['accuracy']['value']:.3f} ({part['accuracy']['low']:.3f} to {part['accuracy']['high']:.3f})"
            for part in (own, other)
        ]
        cells = [f"`{address}`", row["megabytes"], shares[0], f"{own['calibration_error']['value']:.3f}", shares[1]]
        cells += [f"{found['accuracy']:.3f}", "{one face}, {64 faces}".format(**row["milliseconds"])]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
