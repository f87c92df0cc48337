"""Registering a candidate and deciding on it once.

The decision is written to the version before it is carried out, so that a kill in between costs nothing: the
next run finds it and goes on.
"""

import dataclasses
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.registry import gate
from mien.registry.candidate import Candidate
from mien.registry.evidence import (
    Evidence,
    NoComparison,
    TestSet,
    decisions_on,
    difference,
    fetch_champion,
    normalised,
    read_test_set,
    score,
)
from mien.registry.gate import RegisterConfig
from mien.registry.glance import glance
from mien.registry.history import (
    DECISION,
    DONE,
    IDENTITY,
    append_event,
    events_of,
    mark_runs,
    new_event,
    read_model,
    rolled_back,
    version_text,
)
from mien.registry.promotion import CHALLENGER, CHAMPION, alias_of, move, registry, settle
from mien.registry.version import find_version, register_version
from mien.tracking.notes import REGISTERED, set_note
from mien.tracking.publish import training_identity
from mien.tracking.runs import obtain_run, set_tags
from mien.tracking.store import URI

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
    if champion.spec.classes != candidate.spec.classes:
        raise NoComparison(
            f"The champion, version {number}, knows {len(champion.spec.classes)} classes, and the candidate "
            f"{len(candidate.spec.classes)}: they are not compared."
        )
    if seen := champion.overlap(test.faces, same_cut=champion.spec.cut == candidate.spec.cut):
        raise NoComparison(
            f"The champion, version {number}, learnt from {seen} of the {len(test.faces)} faces of this test set: "
            "a comparison would favour it, so there is none."
        )
    faces = evidence.cut(champion.spec.cut, test.faces).pixels
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


BY_GATE: Final = "gate"


@dataclass(frozen=True)
class Registered:
    """The report for `reports/register.json`, and whether the version was registered just now."""

    report: dict[str, Any]
    fresh: bool


def register(candidate: Candidate, evidence: Evidence, settings: RegisterConfig, *, decides: bool) -> Registered:
    """Register the candidate and, where `decides`, let the gate judge it.

    Raises:
        Unreachable: the store is a server and gives no answer.
        UserError: a file is missing, or the store cannot be read or written.
    """
    key = decision_key(candidate, settings)
    if decides and (seen := glance(os.environ.get(URI, ""), candidate.name, candidate.identity, key)):
        return Registered(_report(candidate, seen.version, seen.decision, seen.champion), fresh=False)
    with registry(candidate.name) as client:
        version = find_version(client, candidate.name, candidate.identity)
        fresh = version is None
        if version is None:
            version = _register(client, candidate, evidence)
        settle(client, candidate.name)
        if decides:
            decision = _stored(version, key) or _decide(client, candidate, version, evidence, settings, key)
            if DONE + key not in version.tags:
                _carry_out(client, version, decision, key)
        else:
            reasons = ["Experiments register candidates and decide nothing; `dvc repro` in the main checkout does."]
            decision = gate.Decision(gate.CANDIDATE, reasons)
        champion = alias_of(read_model(client, candidate.name), CHAMPION)
        return Registered(_report(candidate, int(version.version), decision, champion), fresh)


def decision_key(candidate: Candidate, settings: RegisterConfig) -> str:
    """What a decision depends on: who, on which test set, by which rules."""
    text = json.dumps([candidate.identity, candidate.lineage["split_digest"], asdict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _register(client: "MlflowClient", candidate: Candidate, evidence: Evidence) -> "ModelVersion":
    from mien.registry.card import card_facts, write_card
    from mien.registry.evidence import AnswersAsEvaluated

    lineage = candidate.lineage
    run = obtain_run(client, training_identity(lineage))
    tags = {
        "mien.digest": lineage["digest"],
        "mien.data_digest": str(lineage["data_digest"]),
        "mien.split_digest": str(lineage["split_digest"]),
    }
    check = AnswersAsEvaluated(candidate, evidence.predictions, evidence.cut)
    return register_version(
        client, candidate, run, tags, check, lambda: write_card(card_facts(candidate, evidence.predictions))
    )


def _decide(
    client: "MlflowClient",
    candidate: Candidate,
    version: "ModelVersion",
    evidence: Evidence,
    settings: RegisterConfig,
    key: str,
) -> gate.Decision:

    decision = judge(client, candidate, version, evidence, settings)
    client.set_model_version_tag(candidate.name, version.version, DECISION + key, json.dumps(asdict(decision)))
    return decision


def _stored(version: "ModelVersion", key: str) -> gate.Decision | None:
    text = version.tags.get(DECISION + key)
    return None if text is None else gate.Decision(**json.loads(text))


def _carry_out(client: "MlflowClient", version: "ModelVersion", decision: gate.Decision, key: str) -> None:
    """Set the aliases and write the history; every step may be repeated after a kill."""
    name, number = version.name, int(version.version)
    model = settle(client, name)
    champion = alias_of(model, CHAMPION)
    told = any((event["decision"], event["version"]) == (key, number) for event in events_of(model))
    if decision.outcome == gate.PROMOTED and not told:
        move(client, name, new_event("promoted", number, champion, by=BY_GATE, reasons=decision.reasons, decision=key))
    if decision.outcome in (gate.CHALLENGER, gate.REFUSED):
        client.set_registered_model_alias(name, CHALLENGER, version.version)
        mark_runs(client, name, {number, alias_of(model, CHALLENGER)})
        if not told:
            event = new_event(decision.outcome, number, champion, by=BY_GATE, reasons=decision.reasons, decision=key)
            append_event(client, name, event)
    run = ""
    if version.run_id:
        set_tags(client, version.run_id, {"mien.version": f"{name} {number}", "mien.outcome": decision.outcome})
        # The page of a run shows six lines; the reasons stand beside the version.
        set_note(client, version.run_id, REGISTERED, f"`{name}` version {number}: **{decision.outcome}** by the gate.")
        run = client.get_run(version.run_id).info.run_name
    client.update_model_version(name, version.version, description=version_text(name, number, run, decision))
    client.set_model_version_tag(name, version.version, "mien.outcome", decision.outcome)
    client.set_model_version_tag(name, version.version, DONE + key, "true")


def unregistered(candidate: Candidate) -> dict[str, Any]:
    """The report where the registry gave no answer: as far as one knows, nothing is registered and nobody decided."""
    sentence = "The registry gave no answer, so the model is not registered, or not to the end; `dvc repro` goes on."
    return _report(candidate, None, gate.Decision(gate.UNREGISTERED, [sentence]), None)


def _report(candidate: Candidate, version: int | None, decision: gate.Decision, champion: int | None) -> dict[str, Any]:
    """What `reports/register.json` holds: the decision as it was made, and who is champion now."""
    report: dict[str, Any] = without_nan(
        {
            "model": candidate.name,
            "version": version,
            "outcome": decision.outcome,
            "reasons": decision.reasons,
            "champion": champion,
            "identity": candidate.identity,
            "data": candidate.lineage["data"],
            "data_digest": candidate.lineage["data_digest"],
            "split_digest": candidate.lineage["split_digest"],
            "numbers": decision.numbers,
        }
    )
    return report


def without_nan(value: Any) -> Any:
    """JSON knows no NaN: a bound that does not exist is null; other numbers keep six digits."""
    if isinstance(value, Mapping):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
