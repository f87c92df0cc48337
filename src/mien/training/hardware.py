"""Precision, memory format and device from what the processor has, not from habit."""

import ctypes
import sys
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from mien.errors import UserError
from mien.models.machine import fastest_precision, has_gpu
from mien.training.settings import TrainConfig

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3


@dataclass(frozen=True)
class Hardware:
    """What one training runs on: results depend on it, so it is written down with them."""

    accelerator: str  # "cpu" or "gpu"
    precision: str  # "32" or "bf16"
    memory_format: str  # "contiguous" or "channels_last"

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """The Trainer's word for it."""
        return "bf16-mixed" if self.precision == "bf16" else "32-true"

    @property
    def made_on(self) -> dict[str, str]:
        """What a machine may choose otherwise than another, for the lineage."""
        return {"device": self.accelerator, "precision": self.precision}


def choose_hardware(config: TrainConfig) -> Hardware:
    """The configured device, precision and memory format; `auto` takes the fastest that the machine has.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    gpu = config.accelerator != "cpu" and has_gpu()
    if config.accelerator == "gpu" and not gpu:
        raise UserError("train.accelerator is gpu, and PyTorch sees no GPU; say cpu or auto.")
    device = "gpu" if gpu else "cpu"
    return Hardware(
        accelerator=device,
        precision=fastest_precision(device) if config.precision == "auto" else config.precision,
        memory_format="channels_last" if config.memory_format == "auto" else config.memory_format,
    )


def to_channels_last(model: nn.Module) -> None:
    """Lay the convolutions' weights out as `(O, H, W, I)`, which CPU and GPU kernels read faster; values stay."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def keep_freed_memory() -> bool:
    """Tell glibc to keep the activations that each step frees; fetching them from the system anew costs page faults.

    Returns whether the setting took (not so outside glibc). It holds for the whole process.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, 2**30) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
