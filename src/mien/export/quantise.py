"""Weights and activations in eight bits: a smaller file that is faster where batches are large."""

from pathlib import Path
from typing import Final

import numpy as np

from mien.predict.onnx_classifier import INPUT

BATCH: Final = 32  # faces at a time
# What costs time. The first steps, which normalise pixels, and the last, which makes probabilities, stay float32.
KINDS: Final = ["Conv", "Gemm", "MatMul", "Add", "MaxPool"]


def quantise(file: Path, out: Path, faces: np.ndarray) -> None:
    """Write `out`, the graph of `file` in int8: static quantization, weights per channel (Krishnamoorthi, 2018).

    Args:
        file: float32.
        out: holds quantize and dequantize steps around each operator (QDQ), which any runtime can read.
        faces: (N, size, size, C) uint8; the range of every activation is the one that these reach.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(file, prepared)
    quantize_static(
        prepared,
        out,
        CalibrationFaces(faces),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8,
        op_types_to_quantize=KINDS,
    )
    prepared.unlink()


class CalibrationFaces:
    """Faces in batches, as onnxruntime asks for them."""

    def __init__(self, faces: np.ndarray) -> None:
        self._batches = iter({INPUT: faces[start : start + BATCH]} for start in range(0, len(faces), BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, or None after the last."""
        return next(self._batches, None)
