"""Versions of the libraries that decide numbers."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.base.settings import read_yaml
from mien.base.versions import VERSIONS, other_versions
from mien.cli.main import app

ROOT = Path(__file__).resolve().parents[2]


def test_they_are_those_of_the_constraints() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    listed = read_yaml(ROOT / VERSIONS)
    assert listed == {library: pinned[library] for library in listed}
    assert {"torch", "numpy", "onnxruntime"} <= set(listed)


def test_check_refuses_other_versions_unless_they_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / VERSIONS).write_bytes((ROOT / VERSIONS).read_bytes())
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    (tmp_path / VERSIONS).write_text('numpy: "1.26.0"\nno-such-library: "1.0"\n')
    assert [re.sub(r"numpy \S+", "numpy X", sentence) for sentence in other_versions(tmp_path)] == [
        "numpy X is installed, and versions.yaml says 1.26.0.",
        "no-such-library is not installed, and versions.yaml says 1.0.",
    ]
    refused = CliRunner().invoke(app, ["check"])
    assert refused.exit_code == 1
    assert "versions.yaml says 1.26.0" in refused.output and "--allow-other-versions" in refused.output
    allowed = CliRunner().invoke(app, ["check", "--allow-other-versions"])
    assert allowed.exit_code == 0
    assert "versions.yaml says 1.26.0" in allowed.output
