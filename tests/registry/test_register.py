"""Registering a candidate and carrying a decision out, on a real store: once, whole, and again after a kill."""

import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

from mien.base.errors import UserError
from mien.inference.address import load_model_of
from mien.registry import promotion, registration
from mien.registry.gate import RegisterConfig
from mien.tracking.store import connect, local_folder, use_store
from tests.registry.workspace import NAME, registered, versions
from tests.stores import with_store


def test_a_rerun_changes_nothing_and_reports_the_same(
    checkout: Path, weak: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registered(weak)
    with monkeypatch.context() as patch:
        for step in ("register_version", "_decide", "_carry_out"):
            patch.setattr(registration, step, None)
        assert registered(weak) == before
    assert versions() == [1]
    assert len(promotion.history(NAME)) == 1


def test_registering_does_not_import_torch(checkout: Path, weak: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mien.registry.gate import RegisterConfig\n"
        "from mien.registry.registration import register\n"
        "from mien.registry.version import Candidate\n"
        "from mien.sources.source import DataConfig\n"
        "root = Path(sys.argv[1])\n"
        "candidate = Candidate(root, DataConfig('tiny', 'folder', 'data/tiny', 'bars', True))\n"
        "print(register(candidate, RegisterConfig(bootstrap=300), decides=True)['outcome'])\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(weak)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["promoted", "False"]


def test_what_a_person_moved_or_deleted_since_is_seen(checkout: Path, weak: Path, strong: Path) -> None:
    registered(weak)
    registered(strong, decides=False)
    connect().set_registered_model_alias(NAME, "champion", "2")
    assert registered(weak)["champion"] == 2
    assert [event["action"] for event in promotion.history(NAME)] == ["promoted", "moved by hand"]
    connect().delete_model_version(NAME, "1")
    assert registered(weak)["version"] == 3


@pytest.mark.parametrize(
    "step", ["create_model_version", "log_model_artifacts", "finalize_logged_model", "set_registered_model_alias"]
)
def test_killed_between_two_steps_the_next_run_completes_without_a_duplicate(
    checkout: Path, weak: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, step, Mock(side_effect=KeyboardInterrupt))
        registered(weak)
    report = registered(weak)
    assert (report["outcome"], report["champion"]) == ("promoted", 1)
    assert versions() == [1]
    assert [event["action"] for event in promotion.history(NAME)] == ["promoted"]
    assert len(list((checkout / "mlruns/artifacts").glob("*/models/*/artifacts"))) == 1  # what was half logged has gone


def test_a_version_whose_files_are_gone_is_logged_again(checkout: Path, weak: Path) -> None:
    registered(weak)
    shutil.rmtree(checkout / "mlruns/artifacts")
    report = registered(weak)
    assert (report["outcome"], report["version"], report["champion"]) == ("promoted", 2, 2)
    assert "files are gone" in report["reasons"][0]


def test_a_run_deleted_in_the_ui_keeps_no_decision_from_being_carried_out(checkout: Path, weak: Path) -> None:
    registered(weak, decides=False)
    connect().delete_run(str(connect().get_model_version(NAME, "1").run_id))
    report = registered(weak)
    assert (report["outcome"], report["champion"]) == ("promoted", 1)
    assert registered(weak) == report


@pytest.mark.parametrize("name", ["my%20project", "what?now #1 é+"])
def test_a_moved_checkout_finds_and_writes_its_models_where_it_is(
    name: str, finished: Path, weak: Path, tmp_path: Path, no_store: None
) -> None:
    def files_of(version: int) -> Path:
        folder = local_folder(connect().get_model_version_download_uri(NAME, str(version)))
        assert folder and load_model_of(f"models:/{NAME}/{version}").version == version
        return folder

    copy = shutil.copytree(finished, tmp_path / "copy")
    use_store(copy)
    assert files_of(1).is_relative_to(copy)
    moved = copy.rename(tmp_path / name)
    use_store(moved)
    assert files_of(2).is_relative_to(moved)
    shutil.rmtree(files_of(1).parent)
    assert registered(weak, RegisterConfig(bootstrap=100))["version"] == 3
    assert files_of(3).is_relative_to(moved)
    assert (moved / "mlruns/mlflow.db").is_file()
    assert list(tmp_path.iterdir()) == [moved]


def test_an_empty_store_gets_the_model_again(checkout: Path, weak: Path, tmp_path: Path) -> None:
    before = registered(weak)
    with_store(tmp_path / "another machine")
    assert versions() == []
    assert registered(weak) == before


def test_answers_of_other_weights_are_not_registered(checkout: Path, weak: Path, strong: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(weak, mixed)
    shutil.copyfile(strong / "build/train/model.onnx", mixed / "build/train/model.onnx")
    with pytest.raises(UserError, match="from its evaluation on face"):
        registered(mixed)
    assert connect().search_registered_models() == []


def test_an_evaluation_of_another_split_is_refused(checkout: Path, weak: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(weak, mixed)
    lines = (mixed / "reports/predictions.csv").read_text().splitlines()
    (mixed / "reports/predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="list other faces"):
        registered(mixed)
    assert connect().search_registered_models() == []


@pytest.mark.parametrize("file", ["build/split/test.parquet", "reports/predictions.csv"])
def test_a_test_set_that_is_leaked_as_a_whole_says_what_to_change(
    checkout: Path, weak: Path, tmp_path: Path, file: str
) -> None:
    """By the split, or since a model that the candidate began with has learnt from it."""
    leaky = tmp_path / "leaky"
    shutil.copytree(weak, leaky)
    if file.endswith("csv"):
        pd.read_csv(leaky / file).assign(leaked=True).to_csv(leaky / file, index=False)
    else:
        pd.read_parquet(leaky / file).assign(leaked=True).to_parquet(leaky / file)
    with pytest.raises(UserError, match=r"a copy, or its person, in training.* keep_official: false"):
        registered(leaky)
    assert connect().search_registered_models() == []
