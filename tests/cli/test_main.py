"""The command as a whole: it starts fast, helps, and never shows a traceback for what a user can mend."""

import re
import subprocess
import sys

import pytest

import mien as package
from tests.cli.conftest import Command, refused

HEAVY = ("torch", "mlflow", "pandas", "numpy", "cv2", "dvc", "sklearn", "matplotlib", "yaml", "psutil")
COMMANDS = ("predict", "status", "evaluate", "labels", "promote", "rollback", "history", "sync", "ui", "preset")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"], ["promote", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from mien.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_help_names_every_command_and_the_version(mien: Command) -> None:
    assert mien().out.split() == mien("--help").out.split()
    for command in COMMANDS:
        assert f"│ {command} " in mien("--help").out
        assert mien(command, "--help").code == 0
    assert mien("--version").out == f"mien {package.__version__}\n"


@pytest.mark.parametrize("width", ["40", "60", "72", "200"])
def test_help_wraps_at_any_width(process: Command, width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    for command, offered in (((), COMMANDS), (("data",), ("add",))):
        said = process(*command, "--help").out.replace("[ARGS]...", "")
        assert "…" not in said and "..." not in said and "--help" in said
        assert all(re.search(rf"^[│ ] *{name} ", said, re.MULTILINE) for name in offered)
    said = process("video", "--help").out
    assert "…" not in said and "--min-score" in said and "bool" not in said
    text = "Exit code 0: the whole video was read and has a face; 1: it was read in part, or has no face;"
    assert text in " ".join(said.split())
    lines = [line.strip() for line in said[said.index("Exit code") :].splitlines()]
    assert all(len(line) > int(width) - 20 for line in lines[: lines.index("") - 1])


def test_wrong_usage_is_code_2(mien: Command) -> None:
    for words in ("nonsense", "predict", "promote first", "promote 0", "predict a.jpg --what"):
        assert mien(*words.split()).code == 2


def test_a_number_out_of_range_is_told_with_the_range(mien: Command) -> None:
    for arguments, says in (
        (["promote", "0"], "'version': Input should be greater than or equal to 1"),
        (["ui", "--port", "0"], "'--port': Input should be greater than or equal to 1"),
        (["ui", "--port", "65536"], "'--port': Input should be less than or equal to 65535"),
        (["ui", "--port", "http"], "'--port': Input should be a valid integer"),
    ):
        done = mien(*arguments)
        assert (done.code, done.out) == (2, "")
        assert says in " ".join(done.err.split())


def test_the_installed_command_says_what_is_wrong_in_one_sentence(process: Command) -> None:
    refused(process("status"), "mien: there is no reports/metrics.json")
