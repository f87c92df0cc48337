"""Weights and activations in eight bits: a smaller file that is faster where batches are large."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np

from mien.predict.onnx_classifier import INPUT

BATCH: Final = 8  # faces at a time: all that a network computes of them is kept until it has been counted
# Of an activation's values that keep their place; the few beyond are cut off. On FER2013's validation faces the largest
# value of all as the range changed twice as many answers.
KEPT: Final = 99.99
# What costs time. The first steps, which normalise pixels, and the last, which makes probabilities, stay float32.
KINDS: Final = ["Conv", "Gemm", "MatMul", "Add", "MaxPool"]


def quantise(file: Path, out: Path, faces: np.ndarray) -> None:
    """Write `out`, the graph of `file` in int8: static quantization, weights per channel (Krishnamoorthi, 2018).

    Args:
        file: float32.
        out: holds quantize and dequantize steps around each operator (QDQ), which any runtime can read.
        faces: (N, size, size, C) uint8; the range of every activation is what nearly all of its values reach on these.
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
        self._faces = [faces[start : start + BATCH] for start in range(0, len(faces), BATCH)]
        self._next = iter(self._faces)

    def __len__(self) -> int:
        return len(self._faces)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin again at a batch, and end before another."""
        self._next = iter(self._faces[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        batch = next(self._next, None)
        return None if batch is None else {INPUT: batch}
