"""Who computes, who waits, and who is sent away."""

import threading

import pytest

from mien.app.turns import Refused, Turns


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
    with pytest.raises(Refused, match="Too many photos at once; please try again") as refused, turns.turn():
        pass
    assert refused.value.status == 503
    go.set()
    for thread in both:
        thread.join()
    assert done == [1, 1]
    with turns.turn():  # places are free again
        assert turns.inside == 1


def test_a_wait_that_is_too_long_ends() -> None:
    turns = Turns(at_once=1, queue=5, seconds=0.05)
    with turns.turn():
        with pytest.raises(Refused, match="Too many photos"), turns.turn():
            pass
        assert turns.inside == 1


def test_who_fails_leaves_its_place() -> None:
    turns = Turns(at_once=1, queue=1, seconds=0.05)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError
    assert turns.inside == 0
