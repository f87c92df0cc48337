"""The code blocks of README.md and docs/: each command works as it is written, or the table here says why not."""

import re
import shlex
import shutil
import subprocess
import sysconfig
import textwrap
import venv
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.inference.conftest import jpeg
from tests.inference.videos import scene, write_video
from tests.pipelines.conftest import run_first
from tests.pipelines.workspace import ROOT, Workspace
from tests.stores import once
from tools.sample.photo import draw_photo

PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]
NO_COMMANDS = ("text", "yaml")  # what blocks of these languages hold
SERVER, NETWORK, MACHINES = "a server", "downloads libraries", "several machines"
HOURS, DATA, TESTED = "hours", "data that is not here", "another test runs it: "
# Page, beginning of the command, and why it does not run here.
EXCEPTED = [
    ("README.md", "mien app", SERVER),
    ("docs/howto/app.md", "make extras", NETWORK),
    ("docs/howto/app.md", "mien app", SERVER),
    ("docs/howto/app.md", "curl", SERVER),
    ("docs/reference/cli.md", "mien app", SERVER),
    ("docs/reference/cli.md", "mien evaluate --data fer2013", DATA),
    ("docs/howto/compare.md", "mien compare 2af24eb7 5ae36750", DATA),
    ("docs/evidence/coverage.md", "python -m benchmarks.coverage", HOURS),
    ("docs/evidence/coverage.md", "python -m benchmarks.gate_budget", HOURS),
    ("docs/evidence/expw.md", "dvc repro", DATA),
    ("docs/reference/python.md", "python", TESTED + "tests/inference/test_interface.py"),
    ("docs/howto/registry.md", "export MLFLOW_TRACKING_URI=https", SERVER),
    ("docs/howto/export.md", "python", TESTED + "tests/inference/test_without_torch.py"),
    *(
        ("docs/reference/rest.md", command, TESTED + "tests/registry/test_register_server.py")
        for command in ("export MLFLOW_", "mlflow models serve -m", "curl", "printf", "python -c 'import json")
    ),
    ("docs/reference/rest.md", "SERVING_MODEL_CONFIG", SERVER),
    *(
        ("docs/howto/server.md", command, SERVER)
        for command in ("apt", "runuser", "(umask", "export MLFLOW_", "mlflow server", "curl", "mien sync", "dvc repro")
    ),
    ("docs/howto/sharing.md", "dvc remote", SERVER),
    ("docs/howto/sharing.md", "git commit", SERVER),
    ("docs/howto/sharing.md", "export AWS", SERVER),
    ("docs/howto/sharing.md", "git clone", SERVER),
    ("docs/howto/sources.md", "python", TESTED + "tests/sources/test_source.py"),
    ("docs/howto/training.md", "first$", MACHINES),
    ("docs/howto/training.md", "second$", MACHINES),
    ("docs/howto/training.md", "here$", MACHINES),
    ("docs/howto/training.md", "there$", MACHINES),
    ("docs/howto/video.md", "make extras", NETWORK),
]
# What comes before a page's commands, and what its text has told the reader to expect from them.
BEFORE = {
    "docs/reference/cli.md": "mien promote 2 --reason 'the next one steps back'",
    "docs/howto/sharing.md": "dvc remote add -q -d local ~/remote",
}
FAILS = {
    "mien predict dogs.jpg notes.mp4 notes.jpg gone.jpg": 1,
    "mien video notes.txt out.mp4": 2,
}


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The language and the text of each block, fenced or indented; an indented one has no language."""
    either = r"^ *```(\w*)\n(.*?)^ *```$|(?<=\n\n)((?:    [^\n]*\n|\n)+)"
    for found in re.finditer(either, (ROOT / page).read_text(), re.DOTALL | re.MULTILINE):
        yield found[1] or "", found[2] or textwrap.dedent(found[3] or "")


def commands(page: str) -> list[list[str]]:
    """The commands of a page, block by block, as they are written."""
    found = []
    for language, code in blocks(page):
        if language == "python":
            found.append([f"python -c {shlex.quote(code)}"])
        elif language not in NO_COMMANDS:
            lines, shown = code.splitlines(), re.search(r"^\$ ", code, re.MULTILINE)
            block, open_ = list[str](), False
            for line in lines:
                if open_:
                    block[-1] += f"\n{line}"
                elif line.strip() and (not shown or line.startswith("$ ")):
                    block.append(line.removeprefix("$ "))
                else:
                    continue
                open_ = unfinished(block[-1])
            found.append(block)
    return found


def unfinished(command: str) -> bool:
    """Whether a shell would wait for another line."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return command.endswith(("\\", "|"))


def exceptions(page: str, command: str) -> list[tuple[str, str, str]]:
    """The lines of the table that are about a command."""
    return [line for line in EXCEPTED if line[0] == page and command.startswith(line[1])]


def test_every_exception_is_about_a_command_and_names_a_test_that_reads_the_page() -> None:
    written = [(page, command) for page in PAGES for block in commands(page) for command in block]
    used = [line for page, command in written for line in exceptions(page, command)]
    assert set(EXCEPTED) == set(used)
    assert set(FAILS) <= {command for _, command in written}
    for page, _, why in EXCEPTED:
        if why.startswith(TESTED):
            assert page in (ROOT / why.removeprefix(TESTED)).read_text()


def new_user(folder: Path) -> None:
    """A home with photographs and a checkout after `make repro`, which has registered two versions."""
    folder.mkdir()
    subprocess.run(["cp", "-a", once("dag", run_first), folder / "mien"], check=True)
    here = Workspace(folder / "mien")
    here.edit("conf/optim/adamw.yaml", lr=0.0031)
    here.edit("params.yaml", tune="none")
    here.run("dvc", "repro")
    here.commit("second run")


def install(checkout: Path) -> None:
    """An environment that `make install` would leave as it is, with the libraries of this one."""
    venv.EnvBuilder(symlinks=True).create(checkout / ".venv")
    (packages,) = (checkout / ".venv").glob("lib/*/site-packages")
    (packages / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    for program in entry_points(group="console_scripts"):
        if program.name in ("mien", "dvc", "mlflow"):
            file = checkout / ".venv/bin" / program.name
            start = f"import sys\nfrom {program.module} import {program.attr}\nsys.exit({program.attr}())\n"
            file.write_text(f"#!{checkout}/.venv/bin/python\n{start}")
            file.chmod(0o755)
    (checkout / ".venv/bin/.installed").touch()


def give_photos(home: Path, checkout: Path) -> None:
    """The photos, videos and folders that the pages speak of."""
    (home / ".gitconfig").write_text("[user]\nname = t\nemail = t@example.com\n")
    pictures, photos = home / "pictures", checkout / "photos"
    photos.mkdir()
    for k, name in enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")):
        for i in range(9):
            photo, faces = draw_photo(np.random.default_rng([k, i]), [k])
            for folder in [pictures / "more"] if i == 8 else [pictures / "lab", checkout / "PATH"]:
                (folder / name).mkdir(parents=True, exist_ok=True)
                (folder / name / f"{i}.jpg").write_bytes(jpeg(photo))
    top, left, right, bottom = faces[0].box
    face = photo[max(top, 0) : bottom, max(left, 0) : right]
    for name in ("face.png", "face.jpg"):
        cv2.imwrite(str(checkout / name), face[..., ::-1])
    for name in ("couple.jpg", "furious_nurse_4.jpg"):
        shutil.copy(pictures / "lab/angry/0.jpg", photos / name)
    shutil.copy(ROOT / "docs/img/astronaut.jpg", checkout / "photo.jpg")
    (checkout / "dogs.jpg").write_bytes(jpeg(np.full((200, 300, 3), 90, np.uint8)))
    for name in ("notes.txt", "notes.jpg", "notes.mp4"):
        (checkout / name).write_text("hello")
    write_video(home / "clip.mp4", [scene(left) for left in range(6)])
    shutil.copy(home / "clip.mp4", checkout / "holiday.mov")


def failures(home: Path, page: str) -> list[str]:
    """What of a page does not work, with what it printed."""
    checkout, scripts = home / "mien", home / "scripts"
    scripts.mkdir()
    script, done = ["source .venv/bin/activate", BEFORE.get(page, "")], list[str]()
    for block in commands(page):
        script.append("git checkout -q -- params.yaml conf")  # a block does not build on another's choices
        for command in block:
            if not exceptions(page, command) and command not in done:
                file = scripts / str(len(done))
                file.write_text(f"{command}\n")
                script.append(f'eval "$(<{file})" > {file}.out 2>&1 < /dev/null; echo $? > {file}.code')
                done.append(command)
    here = Workspace(checkout)
    here.run("bash", "-c", "\n".join(script), HOME=str(home), PYTHONPATH=f"{checkout}/src:{checkout}", PIP_NO_INDEX="1")
    results = [(int((scripts / f"{i}.code").read_text()), (scripts / f"{i}.out").read_text()) for i in range(len(done))]
    return [
        f"{command}\n  ended with {code}:\n{printed[-1500:]}"
        for command, (code, printed) in zip(done, results, strict=True)
        if code != FAILS.get(re.sub(r"\s+#.*", "", command), 0) or "Traceback" in printed
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))])
def test_the_commands_of_a_page_work_as_they_are_written(page: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    subprocess.run(["cp", "-a", once("user", new_user), home], check=True)
    install(home / "mien")
    give_photos(home, home / "mien")
    assert failures(home, page) == []
