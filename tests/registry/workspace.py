"""A workspace as the DAG leaves it before `register`, made of real parts with a tiny network."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from mien.base.classes import EXPRESSIONS
from mien.crop.cropping import CropConfig, crop_faces
from mien.crop.packed import open_faces
from mien.evaluation import tables
from mien.evaluation.scoring import EvaluateConfig, evaluate_model
from mien.models.description import ModelConfig, ModelSpec, read_spec
from mien.models.graph import export_graph
from mien.registry.gate import RegisterConfig
from mien.registry.registration import register
from mien.registry.version import Candidate
from mien.reporting.images import face_png
from mien.runtime.session import Model, open_graph
from mien.sources.fingerprints import THUMBNAILS, fingerprint
from mien.sources.photos import FolderPhotos
from mien.sources.source import DataConfig, faces_table
from mien.split.parts import SplitConfig, split_faces
from mien.tracking.store import connect
from mien.training.inputs import write_lineage

SIDE = 40  # of a face in its photo
NAME = "mien-tiny"
RULES = RegisterConfig(bootstrap=300)  # decides by itself, with few resamples
NETWORK = ModelConfig("resnet", width=4, dropout=0.0)


def draw_photos(folder: Path, n: int = 150) -> pd.DataFrame:
    """Photos of two faces each; the expression is the height of a bar, and one face in ten lies about it."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows: dict[str, list[Any]] = {
        key: [] for key in ("face_id", "image", "top", "left", "right", "bottom", "confidence", "label")
    }
    for photo in range(n):
        # in patches, or one face would be a near copy of the next
        patches = random.integers(0, 110, (8, 14, 3), dtype=np.uint8)
        pixels = cv2.resize(patches, (2 * SIDE + 20, SIDE + 20), interpolation=cv2.INTER_NEAREST)
        for face in range(2):
            label, left = int(random.integers(0, 7)), 5 + face * (SIDE + 8)
            shown = label if random.random() > 0.1 else int(random.integers(0, 7))
            pixels[10 + shown * 5 : 15 + shown * 5, left : left + SIDE] += 120
            values = (f"p{photo}-{face}", f"p{photo}.png", 10, left, left + SIDE, 10 + SIDE, 50.0, label)
            for key, value in zip(rows, values, strict=True):
                rows[key].append(value)
        cv2.imwrite(str(folder / f"p{photo}.png"), pixels)
    return faces_table(rows)


def prepare(root: Path, crop: CropConfig, seed: int = 42) -> None:
    """Ingest, crop and split: data/, build/ingest, build/crop, build/split."""
    table = draw_photos(root / "data/tiny")
    for folder in ("ingest", "crop", "split", "train", "evaluate"):
        (root / "build" / folder).mkdir(parents=True)
    (root / "reports").mkdir()
    photos = FolderPhotos(root / "data/tiny")
    table = fingerprint(table, photos, root / "build/ingest" / THUMBNAILS, progress=False)
    table.to_parquet(root / "build/ingest/faces.parquet")
    crop_faces(table, photos, crop, root / "build/crop", progress=False)
    config = SplitConfig(train=0.5, val=0.2, test=0.3, seed=seed)
    packed = open_faces(root / "build/crop")
    split = split_faces(table, np.load(root / "build/ingest" / THUMBNAILS), packed, config)
    for part, index in split.parts.items():
        index.to_parquet(root / "build/split" / f"{part}.parquet")
    about = {"digest": split.digest, "data_digest": packed.digest, "test_faces": split.test_faces}
    (root / "build/split/split.json").write_text(json.dumps(about))


def train(root: Path, steps: int, seed: int = 0) -> None:
    """Fit a network for so many steps and evaluate it: build/train, build/evaluate, reports."""
    import torch  # processes that only register do without it

    from mien.models.weights import save_model

    packed = open_faces(root / "build/crop")
    parts = {name: pd.read_parquet(root / f"build/split/{name}.parquet") for name in ("train", "val")}
    torch.manual_seed(seed)
    spec = ModelSpec(dataclasses.asdict(NETWORK), packed.cut)
    model = spec.build()
    pixels = torch.from_numpy(packed.pixels[parts["train"]["row"].to_numpy()]).permute(0, 3, 1, 2)
    labels = torch.from_numpy(parts["train"]["label"].to_numpy().astype(np.int64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels), labels).backward()
        optimizer.step()
    save_model(model.eval(), spec, root / "build/train")
    faces = packed.pixels[parts["val"]["row"].to_numpy()]
    export_graph(model, spec, root / "build/train/model.onnx", faces)
    evaluate(root, f"{steps}-{seed}")


def evaluate(root: Path, digest: str) -> None:
    """Evaluate the network of build/train, and say that it is the training of this digest."""
    packed = open_faces(root / "build/crop")
    val, test = (pd.read_parquet(root / f"build/split/{name}.parquet") for name in ("val", "test"))
    serving = read_spec(root / "build/train").serving(None)
    graph = Model(open_graph(root / "build/train/model.onnx", serving), serving)
    evaluation = evaluate_model(graph, packed, val, test, EvaluateConfig(bootstrap=100))
    _write(root, evaluation, packed.digest, digest)


def _write(root: Path, evaluation: Any, data_digest: str, digest: str) -> None:
    split = json.loads((root / "build/split/split.json").read_text())["digest"]
    lineage = {
        "digest": digest,
        "run": "tiny · resnet4 · 24 px",
        "data": "tiny",
        "model": "resnet4",
        "choices": {"data": "tiny"},
        "config": {"data": {"name": "tiny"}, "optim": {"lr": 0.01}},
        "search": {"trials": 0, "overruled": {}},
        "data_digest": data_digest,
        "split_digest": split,
        "precision": "32",
        "parameters": 1,
        "multiply_adds": 12_345,
    }
    write_lineage(root / "build/train", lineage, {}, root)
    (root / "reports/train.json").write_text('{"val_accuracy": 0.5, "val_macro_f1": 0.4, "val_loss": 1.25}')
    (root / "build/train/history.csv").write_text("epoch,val_loss\n0,1.5\n1,1.25\n")
    tables.write_numbers(evaluation, root / "build/evaluate")
    (root / "build/evaluate/temperature.json").write_text(json.dumps(tables.temperature(evaluation)))
    about = {key: lineage[key] for key in ("data", "model", "data_digest", "split_digest")}
    (root / "reports/metrics.json").write_text(json.dumps(tables.metrics(evaluation, about)))
    (root / "reports/report.html").write_text("<!-- head -->")
    evaluation.predictions.table.to_csv(root / "reports/predictions.csv", index=False)


def less_sure(root: Path) -> None:
    """Another model without another training: the same network with twice the temperature."""
    file, answers = root / "build/evaluate/temperature.json", root / "reports/predictions.csv"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"temperature": 2 * record["temperature"]}))
    table = pd.read_csv(answers)
    roots = table.filter(like="p_") ** 0.5
    table[roots.columns] = roots.div(roots.sum(axis=1), axis=0)
    table.to_csv(answers, index=False)


def copied(workspace: Path, root: Path) -> Path:
    """The workspace's files in another folder, whose store stays its own."""
    for folder in ("data", "build", "reports"):
        shutil.rmtree(root / folder, ignore_errors=True)
        shutil.copytree(workspace / folder, root / folder)
    return root


def candidate_of(root: Path) -> Candidate:
    """What `register` takes from a workspace."""
    data = DataConfig("tiny", "folder", "data/tiny", title="bars", drawn=True)
    return Candidate(root, data)


def registered(root: Path, rules: RegisterConfig = RULES, *, decides: bool = True) -> dict[str, Any]:
    """The report on the workspace's candidate once it is registered."""
    return register(candidate_of(root), rules, decides=decides)


def aliases(name: str = NAME) -> dict[str, int]:
    """The aliases of the registered model in the store in use, and their versions."""
    return {alias: int(version) for alias, version in connect().get_registered_model(name).aliases.items()}


def versions() -> list[int]:
    """The versions of the registered model in the store in use."""
    return sorted(int(v.version) for v in connect().search_model_versions(f"name = '{NAME}'"))


def photos_of(root: Path, n: int) -> tuple[pd.DataFrame, list[str]]:
    """The first n packed test faces as PNG bytes, and what the evaluation predicted for them."""
    test = pd.read_parquet(root / "build/split/test.parquet").head(n)
    predicted = pd.read_csv(root / "reports/predictions.csv").head(n)["predicted"].tolist()
    pixels = open_faces(root / "build/crop").pixels[test["row"].to_numpy()]
    assert set(predicted) <= set(EXPRESSIONS)
    return pd.DataFrame({"image": [face_png(face) for face in pixels]}), predicted
