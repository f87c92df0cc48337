"""Collect the evidence on a candidate and let the gate decide."""

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mien.registry import gate
from mien.registry.candidate import Candidate, cut_alike
from mien.registry.champion import NoComparison, fetch_champion
from mien.registry.events import events_of, read_model, rolled_back
from mien.registry.evidence import Evidence, decisions_on
from mien.registry.promotion import CHAMPION, alias_of
from mien.registry.scores import TestSet, difference, normalised, read_test_set, score
from mien.registry.settings import RegisterConfig
from mien.registry.tags import IDENTITY

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SAME: Final = 1e-5  # of a probability: what rounding in a file can move


def judge(
    client: "MlflowClient",
    candidate: Candidate,
    version: "ModelVersion",
    evidence: Evidence,
    settings: RegisterConfig,
) -> gate.Decision:
    """The decision on a registered candidate, with its reasons and numbers."""
    test = read_test_set(candidate.split, evidence.predictions)
    model = read_model(client, candidate.name)
    champion = alias_of(model, CHAMPION)
    decision = _compare(client, candidate, int(version.version), champion, test, evidence, settings)
    if decision.outcome == gate.PROMOTED and rolled_back(events_of(model), int(version.version)):
        sentence = "A person rolled this version back, so the gate leaves it: `mien promote` can bring it back."
        decision = gate.Decision(gate.CHALLENGER, [*decision.reasons, sentence], decision.numbers)
    return _counted(client, candidate, champion, decision)


def _compare(
    client: "MlflowClient",
    candidate: Candidate,
    version: int,
    champion: int | None,
    test: TestSet,
    evidence: Evidence,
    settings: RegisterConfig,
) -> gate.Decision:
    scores = score(test, test.probabilities, settings)
    if champion is None:
        return gate.decide(scores, None, None, settings)
    if champion == version:
        return gate.Decision(gate.UNCHANGED, [f"Version {version} is champion already."])
    if client.get_model_version(candidate.name, str(champion)).tags.get(IDENTITY) == candidate.identity:
        return gate.Decision(
            gate.PROMOTED, [f"It is the same model as the champion, version {champion}, whose files are gone."]
        )
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return _against(client, candidate, champion, test, evidence, settings, Path(scratch))
    except NoComparison as reason:
        return gate.refuse(str(reason), scores, settings)


def _against(
    client: "MlflowClient",
    candidate: Candidate,
    number: int,
    test: TestSet,
    evidence: Evidence,
    settings: RegisterConfig,
    scratch: Path,
) -> gate.Decision:
    champion = fetch_champion(client, candidate.name, number, scratch)
    if champion.spec["classes"] != candidate.spec["classes"]:
        raise NoComparison(
            f"The champion, version {number}, knows {len(champion.spec['classes'])} classes, and the candidate "
            f"{len(candidate.spec['classes'])}: they are not compared."
        )
    if seen := champion.overlap(test.faces, same_cut=cut_alike(champion.spec, candidate.spec)):
        raise NoComparison(
            f"The champion, version {number}, learnt from {seen} of the {len(test.faces)} faces of this test set: "
            "a comparison would favour it, so there is none."
        )
    faces = evidence.cut(champion.spec, test.faces).pixels
    answers = normalised(champion.answers(list(faces)))
    if np.allclose(answers, test.probabilities, rtol=0, atol=SAME):
        return gate.Decision(gate.UNCHANGED, [f"It answers as the champion does, version {number}, on every face."])
    return gate.decide(
        score(test, test.probabilities, settings),
        score(test, answers, settings),
        difference(test, answers, settings),
        settings,
    )


def _counted(
    client: "MlflowClient", candidate: Candidate, champion: int | None, decision: gate.Decision
) -> gate.Decision:
    """With what the decision was about, and how often this test set has decided by now."""
    split_digest = str(candidate.lineage["split_digest"])
    count = decisions_on(client, candidate.name, split_digest)
    decided = decision.outcome in (gate.PROMOTED, gate.CHALLENGER)
    reasons = list(decision.reasons)
    if decided and count:
        reasons.append(
            f"It is decision {count + 1} on this test set: the more often one is asked, the less its word is worth."
        )
    numbers = {
        **decision.numbers,
        "against": champion,
        "split_digest": split_digest,
        "decisions_on_this_test_set": count + decided,
    }
    return dataclasses.replace(decision, reasons=reasons, numbers=numbers)
