"""What a network was trained on, and whether this machine would have taken the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mien.models.description import hardware_words, machine_difference, made_on_words
from mien.training.hardware import LIBRARIES, fastest_precision, hardware_mismatch, instruction_set, made_on
from mien.training.recipe import TrainerConfig

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "gpu" if torch.cuda.is_available() else "cpu"
PRECISION = fastest_precision(DEVICE)
OTHER = {"bf16": "32", "32": "bf16"}[PRECISION]
HERE = made_on(TrainerConfig(threads=2))


def lineage(
    *, search: dict[str, Any] | None = None, asked: dict[str, Any] | None = None, **made: Any
) -> dict[str, Any]:
    return {**HERE, **made, "config": {"trainer": {"threads": 2, **(asked or {})}}, "search": {"made_on": search}}


def test_what_this_machine_would_do_too_needs_no_words_nor_what_an_older_lineage_does_not_know() -> None:
    asked: dict[str, Any]
    for asked in ({"precision": "auto", "accelerator": "auto"}, {"precision": OTHER}, {"threads": 64}):
        known = {key: value for key, value in asked.items() if value != "auto"}
        assert hardware_mismatch(lineage(asked=asked, **known)) == ""
    old = {key: lineage()[key] for key in ("device", "precision", "config", "search")}
    assert hardware_mismatch(old) == ""
    assert hardware_words({**old, "device": "cpu", "precision": "32"}) == "the CPU, float32"


@pytest.mark.parametrize(
    ("made", "then"),
    [
        ({"precision": OTHER}, "float32" if OTHER == "32" else OTHER),
        ({"device": "gpu", "gpu": "NVIDIA H100"}, "a GPU and NVIDIA H100"),
        ({"instructions": "avx10", "threads": 7}, "avx10 and 7 threads"),
        ({"versions": {**HERE["versions"], "torch": "1.0.0"}}, "torch 1.0.0"),
    ],
)
def test_another_machine_or_library_is_told_in_a_sentence(made: dict[str, Any], then: str) -> None:
    said = hardware_mismatch(lineage(**made))
    assert said.startswith(f"It was trained with {then}, and this machine would train it with ")


CPU = {"device": "cpu", "precision": "bf16", "instructions": "avx512_bf16", "threads": 2, "versions": {"torch": "2"}}
GPU = {**CPU, "device": "gpu", "precision": "32", "gpu": "NVIDIA H100", "devices": 2}


def test_a_search_on_something_else_is_named() -> None:
    says = "the CPU (avx512_bf16, 2 threads), bf16"
    for searched, after in ((None, ""), (CPU, ""), (GPU, ", after a search on 2 GPUs (NVIDIA H100), float32")):
        assert hardware_words({**CPU, "search": {"made_on": searched}}) == says + after


def test_two_machines_are_told_apart_by_what_each_has_alone() -> None:
    older = {**CPU, "precision": "32", "instructions": "avx2", "versions": {"torch": "1"}}
    assert machine_difference(older, CPU) == ("avx2 and float32 and torch 1", "avx512_bf16 and bf16 and torch 2")
    assert machine_difference(CPU, {**CPU, "threads": 1}) == ("2 threads", "1 thread")
    assert machine_difference(CPU, CPU) == ("", "")
    assert made_on_words({**CPU, "threads": 1}) == "the CPU (avx512_bf16, 1 thread), bf16"


SAYS = "from mien.training.hardware import *; print(instruction_set(), fastest_precision('cpu'), sep=';')"


@pytest.mark.skipif(
    "avx512" not in instruction_set() and "amx" not in instruction_set(), reason="needs a processor with AVX-512"
)
@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}, "avx2;32"),
        ({"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}, "sse4_1;32"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, "avx512_f;32"),
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, "avx2, ATen avx512;32"),
    ],
)
def test_the_instruction_set_is_the_one_that_pytorch_may_use(limits: dict[str, str], says: str) -> None:
    command = [sys.executable, "-c", SAYS]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **limits}).stdout
    assert said.strip() == f"{instruction_set().split()[0]} {says}"


def test_the_versions_are_of_the_libraries_that_make_tune_and_train_stale() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    declared = [entry["versions.yaml"] for stage in ("tune", "train") for entry in stages[stage]["params"][-1:]]
    assert set(LIBRARIES) == {name for names in declared for name in names}
    assert HERE["versions"].keys() == set(LIBRARIES)
    assert json.loads(json.dumps(HERE)) == HERE  # it is compared with what a file holds


def test_the_threads_of_a_preset_are_a_number() -> None:
    for preset in (ROOT / "conf/preset").glob("*.yaml"):
        chosen = yaml.safe_load(preset.read_text())["trainer"]
        assert yaml.safe_load((ROOT / f"conf/trainer/{chosen}.yaml").read_text())["threads"] >= 1
