"""Benchmark of stage start-up: imports and configuration, compared with a bare `import torch`.

    python -m benchmarks.stage_start [RUNS]

Each stage's process composes the stage's configuration and imports every module that the stage's file names,
early or late; a bare `import torch` runs in turn with it, so that a noisy machine disturbs both.
"""

import ast
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

from pipelines.compose import STAGE_GROUPS

ROOT = Path(__file__).resolve().parent.parent


def late_imports(stage: str) -> list[str]:
    """The modules that a stage's file imports anywhere, but for what only type checkers read."""
    tree = ast.parse((ROOT / f"pipelines/{stage}.py").read_text())
    guarded = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    skipped = {id(inner) for node in guarded for inner in ast.walk(node)}
    nodes = [n for n in ast.walk(tree) if id(n) not in skipped]
    modules = [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
    return sorted({*modules, *(a.name for n in nodes if isinstance(n, ast.Import) for a in n.names)})


def seconds(code: str) -> float:
    """Wall time of a fresh interpreter that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    return time.perf_counter() - start


def main(runs: int = 5) -> None:
    """Print a row per stage: medians, and what the stage adds to `import torch`."""
    choices = yaml.safe_load((ROOT / "params.yaml").read_text())
    print(f"{'stage':10} {'start':>8} {'torch':>8} {'on top of torch':>16}   (seconds, median of {runs})")
    for stage, groups in STAGE_GROUPS.items():
        arguments = [f"{g}={choices[g]}" for g in groups]
        imports = "; ".join(f"import {module}" for module in late_imports(stage))
        code = f"{imports}; from pipelines.compose import compose; compose({stage!r}, {arguments!r})"
        pairs = [(seconds(code), seconds("import torch")) for _ in range(runs)]
        stage_time, torch_time = (statistics.median(column) for column in zip(*pairs, strict=True))
        added = statistics.median(a - b for a, b in pairs)
        print(f"{stage:10} {stage_time:8.2f} {torch_time:8.2f} {added:16.2f}")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
