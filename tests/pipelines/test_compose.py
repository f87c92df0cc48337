"""Configuration: exactly the stage's groups, strictly checked, each mistake told in one sentence."""

import errno
import os
from pathlib import Path

import pytest
import yaml

from mien.base.errors import UserError
from mien.base.settings import GROUPS
from pipelines.__main__ import run_stage, stage_command
from pipelines.compose import CONF, STAGE_GROUPS, compose

TRAIN = ["data=sample", "model=resnet16", "augment=standard", "optim=adamw", "train=short", "trainer=single"]


def test_a_stage_gets_its_groups_and_no_other() -> None:
    config = compose("train", TRAIN)
    assert set(config.groups) == set(STAGE_GROUPS["train"])
    assert config.choices["optim"] == "adamw"
    with pytest.raises(AttributeError, match="not evaluate"):
        _ = config.evaluate


def test_a_value_can_be_given_on_the_command_line() -> None:
    assert compose("train", [*TRAIN, "optim.lr=3e-4"]).optim.lr == 3e-4


@pytest.mark.parametrize(
    ("group", "file"), [(group, f.stem) for group in GROUPS for f in sorted((CONF / group).glob("*.yaml"))]
)
def test_every_file_of_conf_is_valid(group: str, file: str) -> None:
    stage = next(stage for stage, groups in STAGE_GROUPS.items() if group in groups)
    others = {g: next((CONF / g).glob("*.yaml")).stem for g in STAGE_GROUPS[stage]}
    compose(stage, [f"{g}={c}" for g, c in {**others, group: file}.items()])


def test_params_yaml_is_the_sample_preset() -> None:
    params = yaml.safe_load((CONF.parent / "params.yaml").read_text())
    assert params == yaml.safe_load((CONF / "preset/sample.yaml").read_text())


@pytest.mark.parametrize(
    ("stage", "arguments", "says"),
    [
        ("ingest", [], r"needs data=CHOICE; the choices in conf/data are affectnet, .*sample"),
        ("ingest", ["data=sampel"], r"no conf/data/sampel.yaml .did you mean sample..; the choices are .*sample"),
        ("ingest", ["data=sample", "crop=rgb64"], r"ingest has no group 'crop'; its groups are data"),
        ("ingest", ["data=sample", "data.nam=x"], r"data.nam.*conf/data/sample.yaml"),
        ("ingest", ["data=sample", "+data.x=3"], r"conf/data/sample.yaml: there is no key 'x'; .* name, source"),
        ("register", ["data=sample", "register=auto", "register.max_ece=-1"], r"max_ece must be greater than 0"),
        ("train", [*TRAIN, "optim.lr"], r"optim.lr"),
        ("train", [*TRAIN, "~optim"], r"train needs all its groups and keys, and ~optim takes one away"),
        ("crop", ["data=sample", "crop=rgb64", "crop.min_confidence=nan"], r"min_confidence must be a finite number"),
        ("train", [*TRAIN, "train.seed=-1"], r"conf/train/short.yaml: seed must be greater than or equal to 0, not -1"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(stage: str, arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says) as told:
        compose(stage, arguments)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "where", "says"),
    [
        (errno.ENOSPC, None, "/.*: no space left on device; make room there"),  # what a full disk's write names
        (errno.EFBIG, "build/crop", r"build/crop: file too large; raise the limit of a file's size \(`ulimit -f`\)"),
        (errno.EROFS, "build/crop", "build/crop: read-only file system; mount it writable"),
        (errno.EACCES, "build/crop", "build/crop: permission denied; allow yourself to read and write there"),
    ],
)
def test_what_a_disk_refuses_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str | None, says: str
) -> None:
    monkeypatch.chdir(tmp_path)

    def refused() -> None:
        raise OSError(code, os.strerror(code), where)

    with pytest.raises(SystemExit, match=rf"^mien: {says}, then run again\.$"), stage_command("crop"):
        refused()


def test_a_stage_before_its_turn_names_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(SystemExit, match=r"mien: build/ingest/\S+ is missing; `dvc repro ingest` writes it again"),
        stage_command("crop"),
    ):
        run_stage("crop", ["data=sample", "crop=grey48"])


def test_an_error_that_no_disk_refused_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def broken() -> None:
        raise ConnectionResetError(errno.ECONNRESET, "reset")

    with pytest.raises(ConnectionResetError), stage_command("crop"):
        broken()
