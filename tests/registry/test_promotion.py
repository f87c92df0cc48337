"""Aliases and the history behind them, on a real registry."""

import contextlib
from pathlib import Path
from unittest.mock import Mock

import pytest
from mlflow.tracking import MlflowClient

from mien.base.errors import UserError
from mien.registry import promotion
from mien.registry.promotion import champions, taken_down
from mien.tracking.store import connect

NAME = "mien-tiny"


@pytest.fixture
def client(checkout: Path) -> MlflowClient:
    """A registry with three versions and no champion."""
    client = connect()
    client.create_registered_model(NAME)
    for _ in range(3):
        client.create_model_version(NAME, (checkout / "mlruns").as_uri())
    return client


def aliases(client: MlflowClient) -> dict[str, int]:
    return {alias: int(version) for alias, version in client.get_registered_model(NAME).aliases.items()}


def promote(version: int | None) -> str:
    return promotion.promote(NAME, version, by="ada", reason="why not")


def rollback() -> str:
    return promotion.rollback(NAME, by="ada", reason="it failed")


def actions() -> list[tuple[str, int | None]]:
    return [(event["action"], event["version"]) for event in promotion.history(NAME)]


def test_promotions_and_rollbacks_walk_the_history(client: MlflowClient) -> None:
    assert promote(1) == "mien-tiny version 1 is champion now."
    assert promote(2) == "mien-tiny version 2 is champion now, in place of version 1."
    promote(3)
    assert aliases(client) == {"champion": 3, "previous": 2}
    assert rollback() == "mien-tiny is back at version 2; version 3 stepped down."
    assert aliases(client) == {"champion": 2, "previous": 1}
    rollback()
    assert aliases(client) == {"champion": 1}
    with pytest.raises(UserError, match="nothing to roll back to"):
        rollback()
    assert actions() == [("promoted", v) for v in (1, 2, 3)] + [("rolled back", v) for v in (2, 1)]


def test_an_event_says_who_when_and_why_and_promoting_the_champion_again_is_none(client: MlflowClient) -> None:
    promote(2)
    assert promote(2) == "mien-tiny version 2 is already champion."
    (event,) = promotion.history(NAME)
    assert (event["by"], event["reasons"], event["from_version"]) == ("ada", ["why not"], None)
    assert event["at"].startswith("20")


def test_without_a_version_the_challenger_is_promoted(client: MlflowClient) -> None:
    client.set_registered_model_alias(NAME, "challenger", "3")
    promote(None)
    assert aliases(client) == {"champion": 3}
    with pytest.raises(UserError, match="no challenger to promote; its versions are 1, 2, 3"):
        promote(None)


def test_moved_and_deleted_aliases_are_noticed_and_can_be_taken_back(client: MlflowClient) -> None:
    promote(1)
    promote(2)
    client.set_registered_model_alias(NAME, "champion", "3")
    assert actions() == [("promoted", 1), ("promoted", 2), ("moved by hand", 3)] == actions()  # noticed once
    rollback()
    assert aliases(client) == {"champion": 2, "previous": 1}
    client.delete_registered_model_alias(NAME, "champion")
    assert rollback() == "mien-tiny is back at version 2."
    assert aliases(client) == {"champion": 2, "previous": 1}
    client.set_registered_model_alias(NAME, "previous", "3")  # misleads no rollback
    assert rollback() == "mien-tiny is back at version 1; version 2 stepped down."


@pytest.mark.parametrize("deleted", [{1}, {2}, {3}, {1, 2}, {2, 3}, {1, 3}, {1, 2, 3}])
def test_after_versions_were_deleted_in_the_ui_every_command_does_its_work(
    client: MlflowClient, deleted: set[int]
) -> None:
    client.create_model_version(NAME, "file:///nowhere")
    for version in (1, 2, 3):
        promote(version)
    for version in sorted(deleted):
        client.delete_model_version(NAME, str(version))
    left = [version for version in (1, 2, 3) if version not in deleted]
    if 3 in deleted:
        event = promotion.history(NAME)[-1]
        assert (event["action"], event["version"], event["from_version"]) == ("moved by hand", None, 3)
        assert event["reasons"] == ["Version 3, which was champion, has been deleted outside of mien."]
        assert aliases(client) == ({"previous": left[-1]} if left else {})
    while len(left) > (0 if 3 in deleted else 1):
        if 3 not in deleted:
            left.pop()
        assert f"is back at version {left[-1]}" in rollback()
        assert aliases(client)["champion"] == left[-1]
        if 3 in deleted:
            left.pop()
    with pytest.raises(UserError, match="nothing to roll back to"):
        rollback()
    assert promote(4).startswith("mien-tiny version 4 is champion now")
    assert promotion.history(NAME)[-1]["version"] == 4


def test_a_rollback_names_the_versions_that_it_passes_over(client: MlflowClient) -> None:
    for version in (1, 2, 3):
        promote(version)
    client.delete_model_version(NAME, "2")
    stepped_down, passed_over = rollback().split(". ")
    assert stepped_down == "mien-tiny is back at version 1; version 3 stepped down"
    assert passed_over == "Version 2 was passed over: it has been deleted."


def test_a_killed_promotion_of_a_version_that_was_deleted_since_is_given_up(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(promotion, "append_event", Mock(side_effect=KeyboardInterrupt))
        promote(2)
    client.delete_model_version(NAME, "2")
    assert actions() == [("promoted", 1)]
    assert promote(3) == "mien-tiny version 3 is champion now, in place of version 1."


@pytest.mark.parametrize(
    "step",
    [f"{verb}_registered_model_{what}" for verb in ("set", "delete") for what in ("tag", "alias")],
)
@pytest.mark.parametrize("times", [0, 1])
def test_a_killed_promotion_is_finished_by_the_next_look(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, step: str, times: int
) -> None:
    promote(1)
    client.set_registered_model_alias(NAME, "challenger", "2")
    real = getattr(MlflowClient, step)
    calls: list[int] = []

    class Killed(BaseException):
        pass

    def killed(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) > times:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, killed)
        with contextlib.suppress(Killed):
            promote(2)
    began = not (step == "set_registered_model_tag" and times == 0)
    expected = [("promoted", 1), ("promoted", 2)] if began else [("promoted", 1)]
    assert actions() == expected
    assert aliases(client) == ({"champion": 2, "previous": 1} if began else {"champion": 1, "challenger": 2})


def test_unknown_names_and_versions_are_named(client: MlflowClient) -> None:
    with pytest.raises(UserError, match=r"no registered model 'mien-nobody' .*mien-tiny"):
        promotion.history("mien-nobody")
    with pytest.raises(UserError, match="no version 9 to promote; its versions are 1, 2, 3"):
        promote(9)
    with pytest.raises(UserError, match="nothing to roll back to"):
        rollback()


def test_champions_and_who_was_rolled_back() -> None:
    def event(action: str, version: int | None, before: int | None) -> dict[str, object]:
        models = {"identity": f"model {version}", "from_identity": f"model {before}"}
        return {"action": action, "version": version, "from_version": before, **models}

    events = [event("promoted", 1, None), event("promoted", 2, 1), event("challenger", 3, 2)]
    assert champions(events) == [None, 1, 2]
    events.append(event("rolled back", 1, 2))
    assert champions(events) == [None, 1]
    assert taken_down(events) == {"model 2"}
    events.append(event("promoted", 2, 1))
    assert taken_down(events) == set()
    events.append(event("moved by hand", 1, 2))
    assert taken_down(events) == {"model 2"}
