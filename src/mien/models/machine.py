"""Device and precision that a machine chooses: results depend on them, and DVC's cache does not ask for them.

So every lineage says on what its network was trained, and whoever shows numbers says where this machine would have
taken another.
"""

from collections.abc import Mapping
from typing import Any, Final

PRECISION_WORDS: Final = {"32": "float32", "bf16": "bfloat16"}
DEVICE_WORDS: Final = {"cpu": "the CPU", "gpu": "a GPU"}


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def fastest_precision(device: str) -> str:
    """`bf16` where the device multiplies bfloat16 itself, else `32`; emulating it would be slower than float32."""
    import torch

    if device == "gpu":
        return "bf16" if torch.cuda.is_bf16_supported() else "32"
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return "bf16" if any(getattr(torch.cpu, name)() for name in tests if hasattr(torch.cpu, name)) else "32"


def trained_on(lineage: Mapping[str, Any]) -> str:
    """`bfloat16 on the CPU`, and on what the search ran where that was something else."""
    search = lineage["search"].get("made_on")
    if search is None or (search["device"], search["precision"]) == (lineage.get("device"), lineage["precision"]):
        return _words(lineage)
    return f"{_words(lineage)}, after a search in {_words(search)}"


def unlike_here(lineage: Mapping[str, Any]) -> str:
    """A sentence where this machine would not have trained as the lineage says; empty where it would."""
    asked = lineage["config"].get("train", {})
    device = asked.get("accelerator", "auto")
    if device == "auto":
        device = "gpu" if has_gpu() else "cpu"
    precision = asked.get("precision", "auto")
    if precision == "auto":
        precision = fastest_precision(device)
    here = {"device": device, "precision": precision}
    if _words(here) == _words(lineage):
        return ""
    return (
        f"It was trained in {_words(lineage)}, and this machine would train it in {_words(here)}: "
        "`dvc repro -f -s train`, then `dvc repro`, does so."
    )


def _words(made_on: Mapping[str, Any]) -> str:
    precision = PRECISION_WORDS.get(made_on["precision"], made_on["precision"])
    return f"{precision} on {DEVICE_WORDS[made_on.get('device', 'cpu')]}"
