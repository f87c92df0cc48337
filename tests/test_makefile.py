"""What `make` says where it cannot begin."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])
def test_a_python_that_does_not_run_is_told_in_one_sentence(tmp_path: Path, python: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "repro", f"PYTHON={python}"], cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert done.returncode == 2
    sentence, makes_own = done.stderr.splitlines()
    assert sentence == (
        f"mien needs Python 3.11 or newer, and {python} does not run; say: make PYTHON=python3.11 repro"
    )
    assert makes_own.startswith("make: ***")
    assert not (tmp_path / ".venv").exists()
