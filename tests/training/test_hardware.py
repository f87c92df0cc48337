"""What a network was trained on, and whether this machine would have taken the same."""

from typing import Any

import pytest

from mien.models.description import hardware_words
from mien.training.hardware import fastest_precision, hardware_mismatch, has_gpu

DEVICE = "gpu" if has_gpu() else "cpu"
PRECISION = fastest_precision(DEVICE)
OTHER = {"bf16": "32", "32": "bf16"}[PRECISION]


def lineage(device: str, precision: str, /, **asked: str) -> dict[str, Any]:
    return {"device": device, "precision": precision, "config": {"train": asked}, "search": {"made_on": None}}


def test_what_this_machine_would_do_needs_no_words() -> None:
    assert hardware_mismatch(lineage(DEVICE, PRECISION)) == ""
    assert hardware_mismatch(lineage(DEVICE, PRECISION, precision="auto", accelerator="auto")) == ""


def test_another_precision_or_device_is_told_in_a_sentence() -> None:
    said = hardware_mismatch(lineage(DEVICE, OTHER, precision="auto"))
    words = {"32": "float32", "bf16": "bfloat16"}
    assert said.startswith(f"It was trained in {words[OTHER]} on ")
    assert f"this machine would train it in {words[PRECISION]} on " in said
    assert "on a GPU" in hardware_mismatch(lineage({"cpu": "gpu", "gpu": "cpu"}[DEVICE], PRECISION))


def test_what_the_configuration_asks_for_is_the_same_everywhere() -> None:
    assert hardware_mismatch(lineage(DEVICE, OTHER, precision=OTHER)) == ""
    assert hardware_mismatch(lineage("cpu", "32", precision="32", accelerator="cpu")) == ""


@pytest.mark.parametrize(
    ("searched", "says"),
    [
        (None, "float32 on the CPU"),
        ({"device": "cpu", "precision": "32"}, "float32 on the CPU"),
        ({"device": "gpu", "precision": "bf16"}, "float32 on the CPU, after a search in bfloat16 on a GPU"),
    ],
)
def test_a_search_on_something_else_is_named(searched: dict[str, str] | None, says: str) -> None:
    assert hardware_words({**lineage("cpu", "32"), "search": {"made_on": searched}}) == says
