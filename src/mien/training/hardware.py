"""Training hardware: device, precision, instruction set and threads.

Numbers depend on them and on the libraries, so every lineage names them, and whoever shows the numbers says where this
machine would have chosen others.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from mien.base.errors import UserError
from mien.models.description import CONTINUED_FROM, machine_difference, made_on_words
from mien.training.recipe import TrainerConfig

# PyTorch is imported in the functions that ask it: reports and cards read a lineage without it.
if TYPE_CHECKING:
    from torch import nn

# Instructions of x86 processors by their age, with what ATen (in lower case) and oneDNN call their kernels for them.
INSTRUCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "sse4_1": ("default", "SSE41", "AVX"),
    "avx2": ("avx2", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"),
    "avx512_f": ("avx512", "AVX512_CORE", "AVX512_CORE_VNNI"),
    "avx512_bf16": ("avx512", "AVX512_CORE_BF16", "AVX512_CORE_FP16"),
    "amx_bf16": ("avx512",),
}
# Of versions.yaml: the libraries that decide the numbers of a training or a search.
LIBRARIES: Final = (
    *("albumentations", "numpy", "onnxruntime", "opencv-python-headless"),
    *("optuna", "pytorch-lightning", "scikit-learn", "torch"),
)


def made_on(config: TrainerConfig, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a training's numbers depend on beside data, code and configuration, for its lineage and digest.

    `auto` takes the fastest device and precision that this machine has. `before` is what the checkpoint that is
    continued was made on; where that is not this machine, `continued_from` lists what came before it, in order.
    """
    import torch

    gpu = config.accelerator != "cpu" and torch.cuda.is_available()
    if config.accelerator == "gpu" and not gpu:
        raise UserError("trainer.accelerator is gpu, and PyTorch sees no GPU; use cpu or auto.")
    device = "gpu" if gpu else "cpu"
    here = {
        "device": device,
        "precision": fastest_precision(device) if config.precision == "auto" else config.precision,
        "instructions": instruction_set(),
        "threads": config.threads or torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if gpu else "",
        "devices": config.ranks,
        "versions": versions(),
    }
    if before is None:
        return here
    last = {key: value for key, value in before.items() if key != CONTINUED_FROM}
    return dict(before) if last == here else {**here, CONTINUED_FROM: [*before.get(CONTINUED_FROM, ()), last]}


def versions() -> dict[str, str]:
    """The versions of the libraries that are installed: a machine that only trains lacks those of other stages."""
    found = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name).partition("+")[0]
    return found


def instruction_set() -> str:
    """The newest instructions of the processor that PyTorch's kernels use, such as `AMD avx512_bf16`.

    MKL goes by the maker. ONEDNN_MAX_CPU_ISA limits convolutions; a lower ATEN_CPU_CAPABILITY is added: `, ATen avx2`.
    """
    import torch

    able, aten = torch.cpu.get_capabilities(), torch.backends.cpu.get_cpu_capability().lower()
    known, limit = [], os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    for name, called in INSTRUCTIONS.items():
        if able.get(name):
            known.append(name)
        if limit in called:
            break
    newest = known[-1] if known else platform.machine()  # of another kind than x86
    usual = INSTRUCTIONS.get(newest, ("default",))[0]
    maker = str(able.get("cpu_name", "")).partition(" ")[0]
    return f"{maker} {newest}".strip() + ("" if aten == usual else f", ATen {aten}")


def fastest_precision(device: str) -> str:
    """`bf16` where the device multiplies bfloat16 itself, else `32`; emulating it would be slower than float32."""
    import torch

    able = torch.cuda.is_bf16_supported() if device == "gpu" else "bf16" in instruction_set()
    return "bf16" if able else "32"


def hardware_mismatch(lineage: Mapping[str, Any]) -> str:
    """A sentence where this machine would not have trained as the lineage says; empty where it would."""
    asked = lineage["config"].get("trainer", {})
    settings = {key: asked[key] for key in ("accelerator", "precision", "threads", "devices", "nodes") if key in asked}
    try:
        here = made_on(TrainerConfig(**settings))
    except UserError:
        return f"It was trained on {made_on_words(lineage)}, and PyTorch sees no GPU here."
    then, now = machine_difference(lineage, here)
    if not then + now:
        return ""
    return (
        f"It was trained with {then}, and this machine would train it with {now}: "
        "`dvc repro -f -s train`, then `dvc repro`, does so."
    )


def to_channels_last(model: "nn.Module") -> None:
    """Lay the convolutions' weights out as `(O, H, W, I)`, which CPU and GPU kernels read faster; values stay.

    `Module.to` also lays out those of 1 x 1 pixels, for which kernels are chosen that round otherwise.
    """
    import torch

    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def keep_freed_memory() -> None:
    """Tell glibc, where it is there, to keep what each step frees: fetching it again from the system is slow."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for threshold, least in ((-3, 2**30), (-1, 2**31 - 1)):  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD
            mallopt(threshold, least)
