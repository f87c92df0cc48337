"""What a stranger reads beside models and versions, in a real store."""

from pathlib import Path

from mien.registry import promotion
from mien.registry.gate import RegisterConfig
from mien.registry.registration import register
from mien.tracking.store import NOTE, connect
from tests.registry.workspace import candidate_of, evidence_of

NAME = "mien-tiny"


def test_model_version_and_run_say_what_was_decided(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    client = connect()
    for workspace in (weak, strong):
        report = register(candidate_of(workspace), evidence_of(workspace), rules, decides=True)
    version = client.get_model_version(NAME, "2")
    accuracy = report["numbers"]["candidate"]["accuracy"]["value"]
    assert version.description and version.run_id
    assert version.description.startswith(f"Accuracy {100 * accuracy:.1f} % (")
    assert "): promoted by the gate" in version.description.splitlines()[0]
    assert "90 % interval" in version.description.splitlines()[0]
    note = client.get_run(version.run_id).data.tags[NOTE]
    assert note.startswith("### Registered\n`mien-tiny` version 2: **promoted** by the gate.")
    assert all(f"- {reason}" in version.description for reason in report["reasons"])


def test_the_history_in_the_description_follows_every_move_and_keeps_a_persons_words(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    client = connect()
    register(candidate_of(weak), evidence_of(weak), rules, decides=True)
    register(candidate_of(strong), evidence_of(strong), rules, decides=True)
    before = client.get_registered_model(NAME).description
    assert before.startswith("Facial expressions, learnt from bars. Its faces are drawn")
    assert "models:/mien-tiny@champion" in before
    client.update_registered_model(NAME, description=f"Ours.\n\n{before}")
    promotion.rollback(NAME, by="ada", reason="worse | slower")
    text = client.get_registered_model(NAME).description
    assert text.startswith("Ours.\n\nFacial expressions")
    rows = [line for line in text.splitlines() if line.startswith("| 20")]
    assert len(rows) == 3
    assert "| rolled back | 1 | 2 | ada | worse \\| slower |" in rows[0]
    assert "| promoted | 1 |  | gate |" in rows[2]


def test_runs_say_which_aliases_their_versions_carry(
    checkout: Path, weak: Path, strong: Path, rules: RegisterConfig
) -> None:
    client = connect()

    def said() -> list[str]:
        runs = [client.get_model_version(NAME, number).run_id for number in ("1", "2")]
        return [client.get_run(run).data.tags.get("mien.alias", "") for run in runs]

    for workspace in (weak, strong):
        register(candidate_of(workspace), evidence_of(workspace), rules, decides=True)
    assert said() == ["previous", "champion"]
    promotion.rollback(NAME, by="ada", reason="worse")
    assert said() == ["champion", ""]
    client.set_registered_model_alias(NAME, "champion", "2")
    promotion.history(NAME)
    assert said() == ["previous", "champion"]
    client.delete_run(client.get_model_version(NAME, "1").run_id)
    promotion.promote(NAME, 1, by="ada", reason="its run is gone, the version is not")
    assert client.get_registered_model(NAME).aliases["champion"] == 1
