"""A model to an ONNX file that was held against it: it appears whole and checked, or not at all."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien import __version__
from mien.errors import UserError
from mien.export.agreement import Agreement, Cost, agreement, cost
from mien.export.faces import ExportFaces
from mien.export.graph import stamp, write_graph
from mien.export.quantise import quantise
from mien.predict.classifier import BATCH, TorchClassifier
from mien.predict.loaded import LoadedModel
from mien.predict.onnx_classifier import INPUT, PROBABILITIES, open_onnx
from mien.predict.onnx_metadata import OnnxMetadata
from mien.written_whole import written_whole

if TYPE_CHECKING:
    from mien.crossdata.model import MeasuredModel

MOST_APART: Final = 1e-4  # of any probability, between PyTorch and float32 in ONNX
FLOAT32: Final = "float32"
INT8: Final = "int8"


@dataclass(frozen=True)
class Exported:
    """A file that was written, and what it was held against."""

    file: Path
    faces: str  # which were compared, for people
    float32: Agreement  # with PyTorch
    int8: Agreement | None = None  # with float32
    cost: Cost | None = None  # of int8; None where the faces have no labels


def export_onnx(measured: "MeasuredModel", faces: ExportFaces, out: Path, *, int8: bool = False) -> Exported:
    """Write a model as ONNX to `out`.

    Args:
        measured: in PyTorch.
        faces: to compare on, and to calibrate int8 on.
        out: replaced by rename where it is there already.
        int8: weights and activations in eight bits.

    Raises:
        UserError: the file answers otherwise than the model, or there is nothing to calibrate int8 on.
    """
    loaded = measured.loaded
    if not isinstance(loaded.classifier, TorchClassifier):
        raise UserError(f"{loaded.says} is no PyTorch model; export the one that it comes from.")
    if int8 and faces.calibration is None:
        raise UserError(f"int8 needs faces to find its ranges on, and there are only {faces.says}.")
    with tempfile.TemporaryDirectory(prefix="mien-export-") as scratch:
        file = Path(scratch) / f"{FLOAT32}.onnx"
        write_graph(loaded.classifier.network, loaded.spec, loaded.temperature or 1.0, file)
        stamp(file, _about(measured, FLOAT32))
        found = probabilities_in(file, faces.checked)
        done = Exported(out, faces.says, _held_against(loaded, faces, found))
        if int8 and faces.calibration is not None:
            small = file.with_name(f"{INT8}.onnx")
            quantise(file, small, faces.calibration)
            stamp(small, _about(measured, INT8))
            coarse = probabilities_in(small, faces.checked)
            done = replace(done, int8=agreement(found, coarse), cost=cost(found, coarse, faces))
            file = small
        with written_whole(out) as part:
            part.write_bytes(file.read_bytes())
    return done


def _held_against(loaded: LoadedModel, faces: ExportFaces, found: np.ndarray) -> Agreement:
    """Refuse a float32 file that answers otherwise than PyTorch."""
    apart = agreement(loaded.probabilities(faces.checked), found)
    if not apart.difference <= MOST_APART:
        raise UserError(
            f"the ONNX file was not written: on {faces.says} it answers otherwise than {loaded.says} in PyTorch, by up "
            f"to {apart.difference:.2g} in a probability, where {MOST_APART:g} is allowed."
        )
    return apart


def probabilities_in(file: Path, faces: np.ndarray) -> np.ndarray:
    """The output `probabilities` (N, classes) of a file, as any program reads it, of (N, size, size, C) uint8."""
    session, _ = open_onnx(file)
    starts = range(0, len(faces), BATCH)
    return np.concatenate([session.run([PROBABILITIES], {INPUT: faces[i : i + BATCH]})[0] for i in starts])


def _about(measured: "MeasuredModel", precision: str) -> OnnxMetadata:
    loaded = measured.loaded
    return OnnxMetadata(
        spec=loaded.spec,
        temperature=loaded.temperature,
        name=loaded.name,
        version=loaded.version,
        title=loaded.title,
        drawn=loaded.drawn,
        lineage=str(measured.lineage["digest"]),
        precision=precision,
        card=loaded.card,
        mien=__version__,
    )
