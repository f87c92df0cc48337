"""`mien status` on what the stages really wrote."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command, refused

TUNE: dict[str, Any] = {
    "trials": [{"number": 0}, {"number": 1}],
    "overruled": {"optim.lr": {"config": 0.001, "search": 0.0034567}},
    "confirmed": {"says": "With 1 further seed it overrules."},
}


@pytest.fixture
def reports(two_champions: Path) -> Path:
    """The reports of a whole run in the checkout that was entered: of a real evaluation and a real promotion."""
    (two_champions / "reports/tune.json").write_text(json.dumps(TUNE))
    (two_champions / "reports/index.html").write_text("<html>")
    (two_champions / "conf/data").mkdir(parents=True)
    (two_champions / "conf/data/tiny.yaml").write_text("name: tiny\ndrawn: true\n")
    return two_champions / "reports"


def test_it_says_the_numbers_the_promotion_and_where_to_look(mien: Command, reports: Path) -> None:
    done = mien("status")
    assert (done.code, done.err) == (0, "")
    metrics = json.loads((reports / "metrics.json").read_text())
    accuracy = metrics["accuracy"]
    said = " ".join(done.out.split())
    assert f"{accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f})" in said
    assert f"on {metrics['n']} faces of {metrics['photos']} photos" in said
    assert "mien-tiny version 2 promoted to champion" in said
    for reason in json.loads((reports / "register.json").read_text())["reasons"]:
        assert reason in said
    assert "optim.lr: 0.001 → 0.00346 With 1 further seed it overrules." in said
    assert "drawings" in said
    for where in ("reports/index.html", "make ui", "mien predict PHOTO"):
        assert where in said
    assert max(map(len, done.out.splitlines())) <= 80
    assert "\x1b" not in done.out
    assert "missing" not in said


@pytest.mark.parametrize(
    ("champion", "expected"),
    [(2, "mien-tiny version 2 is the champion"), (1, "version 2 is identical to the champion")],
)
def test_a_model_that_changes_nothing_is_not_called_champion_in_anothers_place(
    mien: Command, reports: Path, champion: int, expected: str
) -> None:
    register = json.loads((reports / "register.json").read_text())
    register.update(outcome="unchanged", version=2, champion=champion)
    (reports / "register.json").write_text(json.dumps(register))
    said = " ".join(mien("status").out.split())
    assert expected in said
    assert ("champion is version 1" in said) == (champion == 1)


def test_numbers_unlike_the_committed_ones_are_told_with_the_reason(mien: Command, reports: Path) -> None:
    root = reports.parent
    made_on = {"device": "cpu", "precision": "bf16", "instructions": "AMD avx512_bf16", "threads": 1}
    metrics = json.loads((reports / "metrics.json").read_text())
    (reports / "train.json").write_text(json.dumps(made_on))
    (root / "params.yaml").write_text("data: tiny\n")
    (root / "README.md").write_text("")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm first"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    assert "committed" not in mien("status").out

    there = f"{metrics['accuracy']['value']:.3f}"
    low = {"accuracy": {"value": 0.111, "low": 0.1, "high": 0.2}}
    (reports / "metrics.json").write_text(json.dumps(metrics | low))
    said = f"Test accuracy is 0.111 here and {there} committed"
    assert " ".join(mien("status").out.split()).endswith(f"{said}: see `git diff HEAD`.")
    (reports / "train.json").write_text(json.dumps({**made_on, "precision": "32", "instructions": "AMD avx2"}))
    why = "trained on another kind of machine (AMD avx2 and float32 here, AMD avx512_bf16 and bf16 there)"
    assert " ".join(mien("status").out.split()).endswith(f"{said}: {why}.")
    (reports / "metrics.json").write_text(json.dumps({**metrics, "data": "another"}))
    assert "committed" not in mien("status").out


def test_it_says_what_is_missing(mien: Command, reports: Path) -> None:
    for name in ("register.json", "tune.json", "index.html"):
        (reports / name).unlink()
    metrics = json.loads((reports / "metrics.json").read_text())
    none = {"n": 0, "accuracy": {"value": None, "low": None, "high": None}}
    (reports / "metrics.json").write_text(json.dumps({**metrics, "leak_free": none}))
    said = " ".join(mien("status").out.split())
    assert "nothing is registered yet" in said and "mien promote" not in said
    assert "leak-free part none: every test face has a copy, or its person, in training" in said
    assert "no reports/tune.json" in said
    assert "missing; `dvc checkout` or `dvc repro` brings it" in said
    (reports / "metrics.json").unlink()
    refused(mien("status"), "run `make repro`")


def test_numbers_of_two_runs_are_told_apart(mien: Command, reports: Path) -> None:
    metrics = json.loads((reports / "metrics.json").read_text())
    metrics["split_digest"] = "another"
    (reports / "metrics.json").write_text(json.dumps(metrics))
    (reports.parent / "params.yaml").write_text("data: expw\n")
    said = " ".join(mien("status").out.split())
    assert "decision used another test set" in said
    assert "params.yaml now chooses data: expw" in said


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ({"trials": [], "overruled": {}}, "none (tune: none)"),
        ({"trials": [{}] * 3, "overruled": {}}, "3 trials; none beat the values of the configuration"),
    ],
)
def test_a_search_that_overruled_nothing(mien: Command, reports: Path, tune: dict[str, Any], expected: str) -> None:
    (reports / "tune.json").write_text(json.dumps(tune))
    assert expected in " ".join(mien("status").out.split())


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("metrics.json", "{}", "lacks data, as another version of mien"),
        ("register.json", "{", "is damaged"),
        ("register.json", '{"model": "mien-tiny"}', "lacks version"),
        ("tune.json", '{"trials": 3, "overruled": {}}', "trials must be a list, not 3"),
        ("../build/train/lineage.json", '{"run": "tiny"}', "lacks digest"),
    ],
)
def test_a_report_of_another_form_is_told_in_one_sentence(
    mien: Command, reports: Path, name: str, content: str, says: str
) -> None:
    (reports / name).write_text(content)
    done = mien("status")
    refused(done, says)
    assert Path(name).name in done.err and "` writes it again." in done.err
