"""No credentials in what git tracks."""

import configparser
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Options of DVC's remotes that are credentials or lead to them: they belong into .dvc/config.local.
CREDENTIALS = re.compile(
    r"access_key|secret|session_token|password|passwd|connection_string|account_key|sas_token|client_id|tenant_id"
    r"|credential|keyfile|gdrive_service|custom_auth|token|^user$",
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
