"""A copy of the checkout, as DVC makes one for a queued experiment, runs its own code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.pipelines.workspace import ROOT


def test_a_stage_in_a_copy_imports_the_code_of_the_copy(tmp_path: Path) -> None:
    """Also where an editable install, which a path in the environment stands for, points to another checkout."""
    for name in ("pipelines", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import mien; print(mien.__file__)'])"
    for program in ("import mien; print(mien.__file__)", child):
        done = subprocess.run(
            [sys.executable, "-c", f"import pipelines.compose; {program}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert Path(done.stdout.strip()).is_relative_to(tmp_path)
