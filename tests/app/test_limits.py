"""Who computes, waits or is sent away: requests that take turns, and cameras."""

import threading

import pytest

from mien.app import turns as turns_module
from mien.app.limits import AppConfig
from mien.app.turns import Cameras, Refused, Turns
from mien.base.settings import check_settings


def test_one_more_than_compute_and_wait_is_refused_at_once() -> None:
    turns = Turns(at_once=1, queue=1, seconds=20)
    inside, go, done = threading.Event(), threading.Event(), []

    def take() -> None:
        with turns.turn():
            inside.set()
            go.wait()
            done.append(1)

    both = [threading.Thread(target=take) for _ in range(2)]
    both[0].start()
    assert inside.wait(5)
    both[1].start()
    while turns.inside < 2:
        pass
    with pytest.raises(Refused, match="Too many requests at once; please try again") as refused, turns.turn():
        pass
    assert refused.value.status == 503
    go.set()
    for thread in both:
        thread.join()
    assert done == [1, 1]
    with turns.turn():  # places are free again
        assert turns.inside == 1


def test_a_wait_that_is_too_long_ends_and_who_fails_leaves_its_place() -> None:
    turns = Turns(at_once=1, queue=1, seconds=0.05)
    with turns.turn():
        with pytest.raises(Refused, match="Too many requests"), turns.turn():
            pass
        assert turns.inside == 1
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError
    assert turns.inside == 0


def test_a_camera_has_a_place_and_a_time_and_a_silent_one_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(turns_module.time, "monotonic", lambda: now)
    cameras = Cameras(most=1, seconds=20)
    for _ in range(6):
        cameras.admit("one")
        with pytest.raises(Refused, match="Too many cameras are live") as refused:
            cameras.admit("two")
        assert refused.value.status == 503
        now += 4
    with pytest.raises(Refused, match="A camera stops after 20 seconds; start it again") as refused:
        cameras.admit("one")
    assert refused.value.status == 429
    cameras.admit("two")
    now += 6
    cameras.admit("one")  # the other one left without a word


def test_pictures_must_be_close_enough_to_follow_a_face() -> None:
    with pytest.raises(ValueError, match=r"video_every must be less than or equal to 0\.5, not 0\.6"):
        check_settings(AppConfig(video_every=0.6))
