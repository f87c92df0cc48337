"""ONNX export for other programs: calibrated probabilities, spec and card in one file, optionally int8."""

import tempfile
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper

from mien import __version__
from mien.base.errors import UserError
from mien.base.files import replacing
from mien.crop.packed import open_faces
from mien.evaluation.intervals import NAN, Interval, bootstrap
from mien.inference.classifier import as_metadata
from mien.inference.picture import Picture, read_pixels
from mien.runtime.session import BATCH, GRAPH_FILE, INPUT, LOGITS, open_session
from mien.runtime.spec import CutSpec

if TYPE_CHECKING:
    from mien.evaluation.other_data import MeasuredModel
    from mien.inference.classifier import LoadedModel
    from mien.inference.predictor import Predictor

MOST: Final = {"val": 2000, "train": 512}  # faces that are compared, and that calibrate
LEAST_CALIBRATED: Final = 16
GENERATED: Final = 64
PROBABILITIES: Final = "probabilities"  # (N, classes) float32


@dataclass(frozen=True)
class ExportFaces:
    """Faces (N, size, size, C) uint8 as the model takes them."""

    checked: np.ndarray  # which are compared
    says: str  # for people, such as "342 of its own validation faces"
    labels: np.ndarray | None = None  # (N,) theirs
    groups: np.ndarray | None = None  # (N,) which of them are resampled together
    calibration: np.ndarray | None = None  # others, never of a test set; None: too few to fit an int8 file to


def own_faces(measured: "MeasuredModel[LoadedModel]", crop: Path) -> ExportFaces | None:
    """The model's own validation faces to compare, and its training faces to calibrate, out of what crop packed.

    They are known by the digests that travel with the model, so that it does not matter how the checkout is split now;
    no test face is among them. None where crop has not run here, or holds none that are cut for the model.
    """
    packed = open_faces(crop) if crop.is_dir() else None
    if packed is None or packed.cut != measured.loaded.spec.cut or measured.seen is None:
        return None
    keys = ["photo_digest", "face_digest"]
    own = packed.index.merge(measured.seen.drop_duplicates(keys), on=keys)
    parts = ((own[own["part"] == part], most) for part, most in MOST.items())
    # The same ones on every run, in the order in which they are packed.
    checked, calibration = (faces.sample(min(n, len(faces)), random_state=0).sort_values("row") for faces, n in parts)
    if checked.empty or len(calibration) < LEAST_CALIBRATED:
        return None
    return ExportFaces(
        checked=packed.pixels[checked["row"].to_numpy()],
        says=f"{len(checked):,} of its own validation faces",
        labels=checked["label"].to_numpy(),
        groups=checked["group"].to_numpy(),
        calibration=packed.pixels[calibration["row"].to_numpy()],
    )


def photo_faces(predictor: "Predictor", files: Iterable[Path]) -> ExportFaces:
    """The faces found in photos, of which every second one calibrates; a UserError where there are none."""
    photos = (read_pixels(Picture(file), predictor.settings) for file in files)
    found = [predictor.find_faces(photo).pixels for photo in photos]
    faces = np.concatenate(found) if found else np.empty(0)
    if not len(faces):
        raise UserError("no face was found in these photos; give photos of faces.")
    calibration = faces[1::2][: MOST["train"]] if len(faces) >= 2 * LEAST_CALIBRATED else None
    checked = faces if calibration is None else faces[::2][: MOST["val"]]
    return ExportFaces(checked, f"{len(checked):,} faces of these photos", calibration=calibration)


def generated_faces(cut: CutSpec) -> ExportFaces:
    """Pictures of noise, for a model whose own faces are not at hand."""
    pictures = np.random.default_rng(5).integers(0, 256, (GENERATED, *cut.shape), dtype=np.uint8)
    return ExportFaces(pictures, f"{GENERATED} generated pictures")


@dataclass(frozen=True)
class Agreement:
    """How two models answer on the same faces; the accuracies are known where these have labels."""

    faces: int
    same: int  # faces with the same likeliest expression
    difference: float  # the largest of any probability
    before: float = NAN
    after: float = NAN
    change: Interval | None = None  # of the accuracy: the paired difference with its 95 % interval


def agreement(before: np.ndarray, after: np.ndarray, faces: ExportFaces | None = None) -> Agreement:
    """Of probabilities (N, classes) and (N, classes); with the faces' labels also what becomes of the accuracy."""
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    accuracy: dict[str, Any] = {}
    if faces and faces.labels is not None and faces.groups is not None:
        accuracy = {"before": float((old == faces.labels).mean()), "after": float((new == faces.labels).mean())}
        accuracy["change"] = bootstrap(faces.labels, after, faces.groups, baseline=before, n=2000).overall["accuracy"]
    return Agreement(len(before), int((old == new).sum()), float(np.abs(before - after).max()), **accuracy)


CALIBRATION_BATCH: Final = 8  # faces at a time: all that a network computes of them is kept until it has been counted
# Of an activation's values that keep their place; the few beyond are cut off. On FER2013's validation faces the largest
# value of all as the range changed twice as many answers.
KEPT: Final = 99.99
# What costs time. The first steps, which normalise pixels, and the last, which makes probabilities, stay float32.
KINDS: Final = ["Conv", "Gemm", "MatMul", "Add", "MaxPool"]


def quantise(file: Path, out: Path, faces: np.ndarray) -> None:
    """Write `out`, the float32 graph of `file` in int8: static, weights per channel (Krishnamoorthi, 2018).

    Quantize and dequantize steps around each operator (QDQ) let any runtime read it. The range of an activation is what
    nearly all of its values reach on `faces` (N, size, size, C) uint8.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(file, prepared)
    with redirect_stdout(StringIO()):  # it tells of its bins
        quantize_static(
            prepared,
            out,
            CalibrationFaces(faces),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=KINDS,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": KEPT, "CalibStridedMinMax": 1},  # a batch at a time
        )
    prepared.unlink()


class CalibrationFaces:
    """Faces in batches, as onnxruntime asks for them: all, or those of a range of batches."""

    def __init__(self, faces: np.ndarray) -> None:
        self._batches = [faces[start : start + CALIBRATION_BATCH] for start in range(0, len(faces), CALIBRATION_BATCH)]
        self.set_range(0, len(self))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin again at a batch, and end before another."""
        self._next = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        batch = next(self._next, None)
        return None if batch is None else {INPUT: batch}


MOST_APART: Final = 1e-4  # of any probability, between the model's graph and the exported file


@dataclass(frozen=True)
class Exported:
    """A file that was written, and the comparisons that it passed."""

    file: Path
    float32: Agreement  # with the model as mien uses it
    int8: Agreement | None = None  # with float32


def export_onnx(
    measured: "MeasuredModel[LoadedModel]", faces: ExportFaces, out: Path, *, int8: bool = False
) -> Exported:
    """Write a model as one ONNX file, in 8 bits if `int8`; a UserError where it answers otherwise than the model."""
    loaded = measured.loaded
    if loaded.files is None:
        raise UserError(f"{loaded.says} is an exported file; export the model that it comes from.")
    if int8 and faces.calibration is None:
        raise UserError(f"int8 needs more faces for its calibration; there are only {faces.says}.")
    about = as_metadata(loaded, str(measured.lineage["digest"]), "int8" if int8 else "float32")
    with tempfile.TemporaryDirectory(prefix="mien-export-") as scratch:
        file = Path(scratch) / "float32.onnx"
        add_probabilities(loaded.files.folder / GRAPH_FILE, file, loaded.spec.temperature or 1.0)
        before = probabilities_in(file, faces.checked)
        done = Exported(out, agreement(loaded.probabilities(faces.checked), before))
        if not done.float32.difference <= MOST_APART:
            apart = f"by up to {done.float32.difference:.2g} in a probability, where {MOST_APART:g} is allowed"
            raise UserError(f"the ONNX file was not written: on {faces.says} it differs from {loaded.says} {apart}.")
        if int8 and faces.calibration is not None:
            small = file.with_name("int8.onnx")
            quantise(file, small, faces.calibration)
            file = small
            done = replace(done, int8=agreement(before, probabilities_in(small, faces.checked), faces))
        model = onnx.load(file)
        del model.metadata_props[:]
        helper.set_model_props(model, about)
        model.producer_name, model.producer_version = "mien", __version__
        with replacing(out) as part:
            onnx.save(model, part)
    return done


def add_probabilities(graph: Path, out: Path, temperature: float) -> None:
    """Write a graph with one more output: the softmax of its logits at a temperature."""
    model = onnx.load(graph)
    shape = next(output for output in model.graph.output if output.name == LOGITS).type.tensor_type.shape
    model.graph.initializer.append(helper.make_tensor("temperature", onnx.TensorProto.FLOAT, [], [temperature]))
    model.graph.node.append(helper.make_node("Div", [LOGITS, "temperature"], ["calibrated"]))
    model.graph.node.append(helper.make_node("Softmax", ["calibrated"], [PROBABILITIES], axis=1))
    probabilities = helper.make_tensor_value_info(PROBABILITIES, onnx.TensorProto.FLOAT, None)
    probabilities.type.tensor_type.shape.CopyFrom(shape)
    model.graph.output.append(probabilities)
    onnx.checker.check_model(model)
    onnx.save(model, out)


def probabilities_in(file: Path, faces: np.ndarray) -> np.ndarray:
    """The output `probabilities` (N, classes) of a file, as any program reads it, of (N, size, size, C) uint8."""
    session = open_session(file)
    starts = range(0, len(faces), BATCH)
    return np.concatenate([session.run([PROBABILITIES], {INPUT: faces[i : i + BATCH]})[0] for i in starts])
