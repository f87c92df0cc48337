"""Registering, deciding and carrying out, on a real store with real models."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mien.errors import UserError
from mien.faces.settings import CropConfig
from mien.registry import promotion
from mien.registry import register as register_module
from mien.registry.glance import glance
from mien.registry.register import decision_key, register
from mien.registry.settings import RegisterConfig
from mien.tracking.store import URI, connect
from tests.registry.workspace import candidate_of, evidence_of, prepare, train
from tests.stores import with_store

NAME = "mien-tiny"


def registered(workspace: Path, rules: RegisterConfig, *, decides: bool = True) -> dict[str, Any]:
    return register(candidate_of(workspace), evidence_of(workspace), rules, decides=decides).report


def aliases() -> dict[str, int]:
    return {alias: int(version) for alias, version in connect().get_registered_model(NAME).aliases.items()}


def versions() -> list[int]:
    return sorted(int(v.version) for v in connect().search_model_versions(f"name = '{NAME}'"))


def test_first_model_becomes_champion_and_a_better_one_takes_its_place(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    first = registered(weak, rules)
    assert (first["outcome"], first["version"], first["champion"]) == ("promoted", 1, 1)
    second = registered(strong, rules)
    assert (second["outcome"], second["version"], second["champion"]) == ("promoted", 2, 2)
    assert aliases() == {"champion": 2, "previous": 1}
    assert second["numbers"]["against"] == 1
    assert second["numbers"]["decisions_on_this_test_set"] == 2
    assert second["numbers"]["champion"]["accuracy"] == first["numbers"]["candidate"]["accuracy"]
    json.dumps(second, allow_nan=False)
    promotion.rollback(NAME, by="ada", reason="complaints")
    assert registered(strong, rules)["champion"] == 1


def test_a_rerun_changes_nothing_and_reports_the_same(
    checkout: Path, weak: Path, rules: RegisterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registered(weak, rules)
    with monkeypatch.context() as patch:
        patch.setattr(register_module, "_register", None)
        patch.setattr(register_module, "_carry_out", None)
        with patch.context() as slow:
            slow.setattr(register_module, "glance", lambda *_: None)
            assert registered(weak, rules) == before  # the long way, as with a server
        patch.setattr(register_module, "registry", None)
        assert registered(weak, rules) == before  # at a glance
    assert versions() == [1]
    assert len(promotion.history(NAME)) == 1


def test_an_idle_rerun_imports_neither_torch_nor_mlflow(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    registered(weak, rules)
    script = tmp_path / "idle.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from mien.registry.candidate import Candidate\n"
        "from mien.registry.register import register\n"
        "from mien.registry.settings import RegisterConfig\n"
        "root = Path(sys.argv[1])\n"
        "candidate = Candidate(root / 'build/train', root / 'build/evaluate/temperature.json', root / 'build/split')\n"
        "print(register(candidate, None, RegisterConfig(bootstrap=300), decides=True).report['outcome'])\n"
        "print({'torch', 'mlflow', 'pandas'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, str(script), str(weak)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["promoted", "set()"]


def test_what_a_person_moved_since_is_seen_at_a_glance(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    registered(weak, rules)
    registered(strong, rules, decides=False)
    connect().set_registered_model_alias(NAME, "champion", "2")
    assert registered(weak, rules)["champion"] == 2
    assert [event["action"] for event in promotion.history(NAME)] == ["promoted", "moved by hand"]
    seen = candidate_of(weak).identity, decision_key(candidate_of(weak), rules)
    assert glance(os.environ[URI], NAME, *seen) is not None
    connect().delete_model_version(NAME, "1")
    assert glance(os.environ[URI], NAME, *seen) is None


def test_a_worse_candidate_is_challenger(checkout: Path, weak: Path, strong: Path, rules: RegisterConfig) -> None:
    registered(strong, rules)
    report = registered(weak, rules)
    assert report["outcome"] == "challenger"
    assert aliases() == {"champion": 1, "challenger": 2}
    assert "may not be better" in " ".join(report["reasons"])


def test_the_same_weights_as_the_champion_are_no_news(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    registered(weak, rules)
    again = tmp_path / "again"
    shutil.copytree(weak, again)
    spec = json.loads((again / "build/train/model.json").read_text())
    (again / "build/train/model.json").write_text(json.dumps(spec))  # other bytes, the same model
    report = registered(again, rules)
    assert (report["outcome"], report["version"], report["champion"]) == ("unchanged", 2, 1)
    assert aliases() == {"champion": 1}


def test_an_experiment_registers_and_decides_nothing(checkout: Path, weak: Path, rules: RegisterConfig) -> None:
    report = registered(weak, rules, decides=False)
    assert (report["outcome"], report["champion"]) == ("candidate", None)
    assert aliases() == {}
    assert registered(weak, rules)["outcome"] == "promoted"
    assert versions() == [1]


def test_manual_approval_waits_for_a_person(checkout: Path, weak: Path, rules: RegisterConfig) -> None:
    manual = dataclasses.replace(rules, approve="manual")
    assert registered(weak, manual)["outcome"] == "challenger"
    assert promotion.promote(NAME, None, by="ada", reason="looks right") == f"{NAME} version 1 is champion now."
    assert aliases() == {"champion": 1}
    assert registered(weak, manual)["champion"] == 1


def test_a_rolled_back_version_is_not_promoted_again_by_itself(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    registered(weak, rules)
    registered(strong, rules, decides=False)
    promotion.promote(NAME, 2, by="ada", reason="a try")
    promotion.rollback(NAME, by="ada", reason="complaints")
    report = registered(strong, rules)
    assert (report["outcome"], report["champion"]) == ("challenger", 1)
    assert "rolled this version back" in " ".join(report["reasons"])


def test_a_champion_that_learnt_from_the_test_set_is_not_compared(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    registered(weak, rules)
    other = tmp_path / "other"
    prepare(other, CropConfig(size=24, colour="grey", workers=1), seed=7)
    train(other, steps=30)
    report = registered(other, rules)
    assert report["outcome"] == "refused"
    assert "faces of this test set" in report["reasons"][0]
    assert aliases() == {"champion": 1, "challenger": 2}
    assert report["numbers"]["decisions_on_this_test_set"] == 0


def test_a_champion_of_another_crop_meets_faces_cut_for_it(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    """The champion's accuracy through the registry is the one that its own evaluation found."""
    first = registered(weak, rules)
    other = tmp_path / "other"
    prepare(other, CropConfig(size=32, colour="rgb", margin=0.05, workers=1))
    for part in ("train", "val", "test"):
        wanted = _faces(weak, part)
        assert _faces(other, part) == wanted
    train(other, steps=40)
    report = registered(other, rules)
    assert report["numbers"]["champion"]["accuracy"] == first["numbers"]["candidate"]["accuracy"]


def test_without_the_raw_photos_a_champion_of_another_crop_is_not_compared(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    registered(weak, rules)
    other = tmp_path / "other"
    prepare(other, CropConfig(size=32, colour="rgb", workers=1))
    train(other, steps=8)
    shutil.rmtree(other / "data")
    report = registered(other, rules)
    assert report["outcome"] == "refused"
    assert "raw photos" in report["reasons"][0]


@pytest.mark.parametrize("step", ["create_model_version", "log_model_artifacts", "set_registered_model_alias"])
def test_killed_between_two_steps_the_next_run_completes_without_a_duplicate(
    checkout: Path, weak: Path, rules: RegisterConfig, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from mlflow.tracking import MlflowClient

    class Killed(BaseException):
        pass

    def killed(*args: object, **kwargs: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, killed)
        with pytest.raises(Killed):
            registered(weak, rules)
    report = registered(weak, rules)
    assert (report["outcome"], report["champion"]) == ("promoted", 1)
    assert versions() == [1]
    assert [event["action"] for event in promotion.history(NAME)] == ["promoted"]


def test_a_version_whose_files_are_gone_is_logged_again(checkout: Path, weak: Path, rules: RegisterConfig) -> None:
    registered(weak, rules)
    shutil.rmtree(checkout / "mlruns/artifacts")
    report = registered(weak, rules)
    assert (report["outcome"], report["version"], report["champion"]) == ("promoted", 2, 2)
    assert "files are gone" in report["reasons"][0]


def test_an_empty_store_gets_the_model_again(checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path) -> None:
    before = registered(weak, rules)
    with_store(tmp_path / "another machine")
    assert versions() == []
    assert registered(weak, rules) == before


def test_answers_of_other_weights_are_not_registered(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(weak, mixed)
    shutil.copyfile(strong / "build/train/model.safetensors", mixed / "build/train/model.safetensors")
    with pytest.raises(UserError, match="apart from its evaluation on face"):
        registered(mixed, rules)
    assert versions() == []


def test_an_unreachable_server_is_named(
    weak: Path, rules: RegisterConfig, closed_port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URI, closed_port)
    with pytest.raises(UserError, match=rf"{closed_port} failed \(Connection refused\)"):
        registered(weak, rules)


def test_an_evaluation_of_another_split_is_refused(
    checkout: Path, weak: Path, rules: RegisterConfig, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(weak, mixed)
    lines = (mixed / "reports/predictions.csv").read_text().splitlines()
    (mixed / "reports/predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match="name other faces"):
        registered(mixed, rules)


def _faces(workspace: Path, part: str) -> list[str]:
    import pandas as pd

    return list(pd.read_parquet(workspace / f"build/split/{part}.parquet")["face_id"])
