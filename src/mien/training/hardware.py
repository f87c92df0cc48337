"""Training hardware: device, precision and memory format.

Numbers depend on device and precision, so every lineage names them, and whoever shows the numbers says where this
machine would have chosen others.
"""

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from mien.base.errors import UserError
from mien.models.description import made_on_words
from mien.training.recipe import TrainConfig

# PyTorch is imported in the functions that ask it: reports and cards read a lineage without it.
if TYPE_CHECKING:
    from torch import nn

M_TRIM_THRESHOLD: Final = -1  # glibc's mallopt
M_MMAP_THRESHOLD: Final = -3


@dataclass(frozen=True)
class Hardware:
    """What one training runs on."""

    accelerator: str  # "cpu" or "gpu"
    precision: str  # "32" or "bf16"
    memory_format: str  # "contiguous" or "channels_last"

    @property
    def lightning_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """The Trainer's word for the precision."""
        return "bf16-mixed" if self.precision == "bf16" else "32-true"

    @property
    def made_on(self) -> dict[str, str]:
        """Device and precision for the lineage; another machine may choose others."""
        return {"device": self.accelerator, "precision": self.precision}


def choose_hardware(config: TrainConfig) -> Hardware:
    """The configured device, precision and memory format; `auto` takes the fastest that the machine has.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    gpu = config.accelerator != "cpu" and has_gpu()
    if config.accelerator == "gpu" and not gpu:
        raise UserError("train.accelerator is gpu, and PyTorch sees no GPU; use cpu or auto.")
    device = "gpu" if gpu else "cpu"
    return Hardware(
        accelerator=device,
        precision=fastest_precision(device) if config.precision == "auto" else config.precision,
        memory_format="channels_last" if config.memory_format == "auto" else config.memory_format,
    )


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def fastest_precision(device: str) -> str:
    """`bf16` where the device multiplies bfloat16 itself, else `32`; emulating it would be slower than float32."""
    import torch

    if device == "gpu":
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    able = torch.cpu.get_capabilities()
    return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "32"


def hardware_mismatch(lineage: Mapping[str, Any]) -> str:
    """A sentence where this machine would not have trained as the lineage says; empty where it would."""
    asked = lineage["config"].get("train", {})
    device = asked.get("accelerator", "auto")
    if device == "auto":
        device = "gpu" if has_gpu() else "cpu"
    precision = asked.get("precision", "auto")
    if precision == "auto":
        precision = fastest_precision(device)
    here = {"device": device, "precision": precision}
    if made_on_words(here) == made_on_words(lineage):
        return ""
    return (
        f"It was trained in {made_on_words(lineage)}, and this machine would train it in {made_on_words(here)}: "
        "`dvc repro -f -s train`, then `dvc repro`, does so."
    )


def to_channels_last(model: "nn.Module") -> None:
    """Lay the convolutions' weights out as `(O, H, W, I)`, which CPU and GPU kernels read faster; values stay."""
    import torch

    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def keep_freed_memory() -> None:
    """Tell glibc to keep the activations that each step frees; fetching them again from the system costs page faults.

    It holds for the whole process; outside glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
