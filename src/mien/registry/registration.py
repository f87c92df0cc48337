"""Model registration: find or log a version, let the gate decide once, apply the decision.

Every step may be repeated, and a comparison's outcome is written to the version before it is carried out. So a kill
between two steps costs nothing: the next run finds what is done and goes on. What was not compared is decided anew by
each run: photos or files may be back, or another version may be champion.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mien.base.state import digest, state_folder
from mien.evaluation.tables import looks_at, plain
from mien.registry import evidence, gate, promotion
from mien.registry.gate import RegisterConfig
from mien.registry.promotion import CHALLENGER, CHAMPION, DECISION, DONE, alias_of, move, read_model, registry, settle
from mien.registry.version import IDENTITY, Candidate, described, find_version, register_version, version_identities
from mien.tracking.publish import training_identity
from mien.tracking.runs import git_facts, obtain_run, set_note, set_tags
from mien.tracking.store import connect, store_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

BY_GATE: Final = "gate"
COMPARED: Final = (gate.PROMOTED, gate.CHALLENGER)  # outcomes that stand
SAME: Final = 1e-5  # of a probability: what rounding in a file can move


def register(candidate: Candidate, settings: RegisterConfig, *, decides: bool) -> dict[str, Any]:
    """Register the candidate and, where `decides`, let the gate decide; returns what `reports/register.json` holds.

    Errors as of `registry`; a UserError also where a file is missing, or `no_group_worse` names no slice.
    """
    gate.check_slice(settings, candidate.data.slices)
    # Before the registered model exists, which would stay behind without a version.
    evidence.refuse_other_answers(candidate, evidence.read_test_set(candidate), settings.threads)
    with registry(candidate.name, described("model", candidate.name, candidate.lineage)) as client:
        version = find_version(client, candidate.name, candidate.identity)
        if version is None:
            run = obtain_run(client, training_identity(candidate.lineage))
            version = register_version(client, candidate, run)
        settle(client, candidate.name)
        known = promotion.looks_of(read_model(client, candidate.name), candidate.test_faces)
        for identity in {*looks_at(state_folder(candidate.root), candidate.test_faces), candidate.identity} - {*known}:
            promotion.add_look(client, candidate.name, candidate.test_faces, identity)
        if decides:
            # What a decision depends on: the model, the test set and the rules.
            rules = {key: value for key, value in asdict(settings).items() if key != "threads"}
            key = digest(candidate.identity, candidate.lineage["split_digest"], rules)[:12]
            stored = version.tags.get(DECISION + key)
            text = stored or json.dumps(asdict(_decide(client, candidate, int(version.version), settings)))
            decision = gate.Decision(**json.loads(text))
            if not stored and decision.outcome in COMPARED:
                client.set_model_version_tag(candidate.name, version.version, DECISION + key, text)
            if DONE + key not in version.tags:
                _carry_out(client, version, decision, key)
                if decision.outcome in COMPARED:
                    client.set_model_version_tag(candidate.name, version.version, DONE + key, "true")
        else:
            reasons = ["Experiments register candidates and decide nothing; `dvc repro` in the main checkout does."]
            decision = gate.Decision(gate.CANDIDATE, reasons)
        champion = alias_of(read_model(client, candidate.name), CHAMPION)
        return _report(candidate, int(version.version), decision, champion)


def _decide(client: "MlflowClient", candidate: Candidate, version: int, settings: RegisterConfig) -> gate.Decision:
    """The decision on a registered candidate, with its reasons, its numbers, and the use of its test set."""
    model = read_model(client, candidate.name)
    champion = alias_of(model, CHAMPION)
    test = evidence.read_test_set(candidate)
    decision = _compare(client, candidate, version, champion, test, settings)
    outcome, reasons = decision.outcome, list(decision.reasons)
    if outcome == gate.PROMOTED and (
        who := _taken_down(client, candidate, promotion.recorded(model), test, settings.threads)
    ):
        outcome = gate.CHALLENGER
        reasons.append(f"A person took {who} down, so the gate leaves it: `mien promote` can bring it back.")
    looks = promotion.looks_of(read_model(client, candidate.name), candidate.test_faces)
    if outcome in COMPARED and len(looks) > 1:
        reasons.append(f"{len(looks)} models have been measured on this test set.")
    numbers = {
        **decision.numbers,
        "against": champion,
        "split_digest": str(candidate.lineage["split_digest"]),
        "test_faces": candidate.test_faces,
        "models_measured_on_this_test_set": len(looks),
        "decisions_on_this_test_set": sum(spent is not None for spent in looks.values()),
    }
    return dataclasses.replace(decision, outcome=outcome, reasons=reasons, numbers=numbers)


def _taken_down(
    client: "MlflowClient", candidate: Candidate, past: list[promotion.Event], test: evidence.TestSet, threads: int
) -> str:
    """The model that a person took down and that the candidate is, or answers as, in words; empty where there is none.

    Other code may write the same weights into another file, which is another identity.
    """
    down = promotion.taken_down(past)
    if candidate.identity in down:
        return "this model"
    for number, identity in version_identities(client, candidate.name).items():
        if identity in down:
            with contextlib.suppress(evidence.NoComparison):
                unseen, answers = evidence.champion_answers(client, candidate, number, test, threads)
                if np.allclose(answers, unseen.probabilities, rtol=0, atol=SAME):
                    return f"version {number}, which gives the same answers,"
    return ""


def _compare(
    client: "MlflowClient",
    candidate: Candidate,
    version: int,
    champion: int | None,
    test: evidence.TestSet,
    settings: RegisterConfig,
) -> gate.Decision:
    if champion == version:
        return gate.Decision(gate.UNCHANGED, [f"Version {version} is champion already."])
    scores = evidence.score(test, test.probabilities, settings)
    numbers = {"level": 1 - 2 * settings.alpha, "candidate": scores, "champion": None, "difference": None}
    if champion is None:
        return dataclasses.replace(gate.decide(scores, None, settings), numbers=numbers)
    if client.get_model_version(candidate.name, str(champion)).tags.get(IDENTITY) == candidate.identity:
        reason = f"It is the same model as the champion, version {champion}, whose files are gone."
        return gate.Decision(gate.PROMOTED, [reason])
    try:
        unseen, answers = evidence.champion_answers(client, candidate, champion, test, settings.threads)
    except evidence.NoComparison as error:
        return gate.Decision(gate.REFUSED, [str(error), "`mien promote` lets a person decide."], numbers)
    if np.allclose(answers, unseen.probabilities, rtol=0, atol=SAME):
        reason = f"It answers as the champion does, version {champion}, on every face."
        return gate.Decision(gate.UNCHANGED, [reason])
    left_out = len(test.faces) - len(unseen.faces)
    if left_out:
        scores = evidence.score(unseen, unseen.probabilities, settings)
    place = promotion.spend(client, candidate.name, candidate.test_faces, candidate.identity, settings)
    change = evidence.difference(unseen, answers, settings)
    numbers |= {"candidate": scores, "champion": evidence.score(unseen, answers, settings), "difference": change}
    groups = evidence.group_changes(unseen, answers, candidate, settings)
    numbers |= {"test_level": settings.level, "decision": place[0], "decisions_allowed": place[1], "groups": groups}
    decision = gate.decide(scores, change, settings, place, groups)
    if left_out:
        decision.reasons.insert(1, f"The champion learnt from {left_out} other faces of this test set: left out.")
    return dataclasses.replace(decision, numbers=numbers)


def _carry_out(client: "MlflowClient", version: "ModelVersion", decision: gate.Decision, key: str) -> None:
    """Set the aliases and write the history; every step may be repeated after a kill."""
    name, number = version.name, int(version.version)
    model = settle(client, name)
    champion = alias_of(model, CHAMPION)
    identities, why = version_identities(client, name), decision.reasons
    event = promotion.new_event(decision.outcome, number, champion, identities, by=BY_GATE, reasons=why, decision=key)
    same = ("decision", "version", "action")
    written = any(all(old[part] == event[part] for part in same) for old in promotion.recorded(model))
    if decision.outcome == gate.PROMOTED and not written:
        move(client, name, event)
    if decision.outcome in (gate.CHALLENGER, gate.REFUSED):
        client.set_registered_model_alias(name, CHALLENGER, version.version)
        promotion.tag_runs(client, name, {number, alias_of(model, CHALLENGER)})
        if not written:
            promotion.append_event(client, name, event)
    run = None
    if version.run_id:
        with promotion.passing_over_deleted():
            run = client.get_run(version.run_id).info
            set_tags(client, version.run_id, {"mien.version": f"{name} {number}", "mien.outcome": decision.outcome})
            # The page of a run shows six lines; the reasons stand beside the version.
            sentence = f"`{name}` version {number}: **{decision.outcome}** by the gate."
            set_note(client, version.run_id, "Registered", sentence)
    client.update_model_version(name, version.version, description=described("version", name, number, run, decision))
    client.set_model_version_tag(name, version.version, "mien.outcome", decision.outcome)


def origin(report: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Where the version of a report comes from, in words: its run, its commit, and when it was registered."""
    found: dict[str, str] = {}
    with store_errors(f"the registry of {report['model']} at"), promotion.passing_over_deleted():
        client = connect()
        version = client.get_model_version(report["model"], str(report["version"]))
        found["registered"] = f"{datetime.fromtimestamp(version.creation_timestamp / 1000, UTC):%Y-%m-%d %H:%M} UTC"
        run = client.get_run(version.run_id or "")
        facts = {**git_facts(root), **run.data.tags}  # a run that was tracked while it trained knows its own
        changed = ", with changes that are not committed" if facts.get("mien.git_dirty") == "true" else ""
        commit = facts.get("mlflow.source.git.commit", "none: not a git checkout") + changed
        found |= {"run": run.info.run_name, "commit": commit}
    return found


def unregistered(candidate: Candidate) -> dict[str, Any]:
    """The report where the registry gave no answer: nothing may be registered, and nothing is decided."""
    sentence = "The registry did not answer, so the model is not, or not fully, registered; `dvc repro` continues."
    return _report(candidate, None, gate.Decision(gate.UNREGISTERED, [sentence]), None)


def _report(candidate: Candidate, version: int | None, decision: gate.Decision, champion: int | None) -> dict[str, Any]:
    """What `reports/register.json` holds: the decision as it was made, and who is champion now."""
    reasons = list(decision.reasons)
    if decision.outcome == gate.PROMOTED and champion is None:
        reasons.append(
            "Since then the alias champion was taken away: `mien rollback` brings back the last champion, "
            f"`mien promote {version}` this version."
        )
    elif decision.outcome == gate.PROMOTED and champion != version:
        reasons.append(f"Since then version {champion} has become champion: see `mien history`.")
    return {
        "model": candidate.name,
        "version": version,
        "outcome": decision.outcome,
        "reasons": reasons,
        "champion": champion,
        "identity": candidate.identity,
        **{key: candidate.lineage[key] for key in ("data", "data_digest", "split_digest")},
        "numbers": plain(decision.numbers),
    }
