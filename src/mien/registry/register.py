"""Register a candidate, let the gate decide once, and carry the decision out; a rerun changes nothing.

The decision is written to the version before it is carried out, so that a kill in between costs nothing: the
next run finds it and goes on.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mien.registry import gate
from mien.registry.candidate import Candidate
from mien.registry.describe import version_text
from mien.registry.events import append_event, events_of, new_event, read_model
from mien.registry.evidence import Evidence
from mien.registry.glance import glance
from mien.registry.log_model import find_version, register_version
from mien.registry.marks import mark_runs
from mien.registry.promotion import CHALLENGER, CHAMPION, alias_of, move, registry, settle
from mien.registry.settings import RegisterConfig
from mien.registry.tags import DECISION, DONE
from mien.tracking.files import training_identity
from mien.tracking.notes import REGISTERED, set_note
from mien.tracking.runs import obtain_run, set_tags
from mien.tracking.store import URI

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient


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
    from mien.registry.card import write_card
    from mien.registry.card_facts import card_facts
    from mien.registry.verify import AnswersAsEvaluated

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
    from mien.registry.judge import judge

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
