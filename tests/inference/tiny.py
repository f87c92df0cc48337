"""One small model, exported once in float32 and once in int8, for all tests of a session that need a file."""

import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

from mien.crop.selection import CropConfig
from mien.inference.address import MeasuredModel, open_measured
from mien.inference.export import Exported, ExportFaces, export_onnx, own_faces
from tests.registry.workspace import prepare, train


class Export(NamedTuple):
    """The workspace, what was exported from it, on which faces, and what came of it."""

    root: Path
    measured: MeasuredModel
    faces: ExportFaces
    float32: Exported
    int8: Exported


@functools.cache
def export_tiny() -> Export:
    """The exporter needs seconds: PyTorch traces the network, and imports much to do so."""
    root = Path(tempfile.mkdtemp(prefix="mien-export-")) / "workspace"
    prepare(root, CropConfig(size=24, colour="grey", workers=1))
    train(root, steps=40, seed=1)
    (root / "conf/data").mkdir(parents=True)
    (root / "conf/data/tiny.yaml").write_text("title: bars\ndrawn: true\n")
    measured = open_measured(str(root / "build/train"))
    faces = own_faces(measured, root / "build/crop")
    both = [export_onnx(measured, faces, root / f"{kind}.onnx", int8=kind == "int8") for kind in ("float32", "int8")]
    return Export(root, measured, faces, *both)
