"""What windows say of a limit, and how surely one is better than another."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from ctxkit.functions.pools._evidence import KEPT, Evidence, Window


def window(limit: int, rate: float, *, calls: int = 100, spread: float = 0.04) -> Window:
    return Window(limit, calls, calls, calls / rate, spread)


def test_gain_of_a_limit_that_was_never_seen_is_not_known() -> None:
    evidence = Evidence()
    evidence.note(window(4, 200))
    assert evidence.gain(4, 8) == (0.0, inf)


@pytest.mark.parametrize(("rate", "gain"), [(400, 1.0), (200, 0.0), (100, -1.0)])
def test_gain_is_what_a_share_more_calls_buys(rate: float, gain: float) -> None:
    evidence = Evidence()
    evidence.note(window(4, 200))
    evidence.note(window(8, rate))
    assert evidence.gain(4, 8)[0] == pytest.approx(gain)
    assert evidence.gain(8, 4)[0] == pytest.approx(gain)


def test_gain_is_of_calls_that_ended_well() -> None:
    evidence = Evidence()
    evidence.note(window(4, 200))
    evidence.note(Window(8, 100, 50, 100 / 400, 0.04))
    assert evidence.gain(4, 8)[0] == pytest.approx(0.0)


def test_gain_is_the_surer_the_more_windows_there_were() -> None:
    evidence = Evidence()
    deviations = []
    for _ in range(10):
        evidence.note(window(4, 200))
        evidence.note(window(8, 300))
        deviations.append(evidence.gain(4, 8)[1])
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] < deviations[0] / 2


def test_gain_is_the_less_sure_the_more_calls_differ() -> None:
    deviations = []
    for spread in (0.0, 1.0, 4.0):
        evidence = Evidence()
        evidence.note(window(4, 200, spread=spread))
        evidence.note(window(8, 300, spread=spread))
        deviations.append(evidence.gain(4, 8)[1])
    assert deviations[0] < deviations[1] < deviations[2]


def test_gain_is_the_less_sure_the_more_windows_differ() -> None:
    """Their calls are all alike, so that the machine must have been busy otherwise."""
    chance = Random(1)
    deviations = []
    for off in (0.0, 0.3):
        evidence = Evidence()
        for _ in range(20):
            for limit, rate in ((4, 200), (8, 300)):
                seen = window(limit, rate * (1 + off * chance.uniform(-1, 1)), spread=0.0)
                evidence.surprises(seen)
                evidence.note(seen)
        deviations.append(evidence.gain(4, 8)[1])
    assert deviations[1] > 3 * deviations[0]


def test_windows_of_long_ago_weigh_little() -> None:
    evidence = Evidence()
    evidence.note(window(4, 200))
    evidence.note(window(8, 400))
    for _ in range(60):
        evidence.note(window(8, 200))
    gain, deviation = evidence.gain(4, 8)
    assert 0 < gain < 0.05
    assert deviation < inf
    for _ in range(60):
        evidence.note(window(8, 200))
    assert 100 * KEPT**120 < 1  # of the calls of the first one
    assert evidence.gain(4, 8)[1] == inf


def test_window_that_is_far_off_surprises_and_one_that_is_near_does_not() -> None:
    evidence = Evidence()
    assert not evidence.surprises(window(4, 200))
    for _ in range(30):
        evidence.surprises(window(4, 200))
        evidence.note(window(4, 200))
    assert not evidence.surprises(window(4, 225))
    assert evidence.surprises(window(4, 250))
    assert evidence.surprises(window(4, 160))
    assert not evidence.surprises(window(4, 250, calls=2))


def test_window_raises_what_is_known_only_if_it_yields_more() -> None:
    evidence = Evidence()
    assert evidence.raises(window(4, 200))
    evidence.note(window(4, 200))
    assert evidence.raises(window(4, 210))
    assert not evidence.raises(window(4, 190))


def test_what_is_forgotten_of_higher_limits_stays_known_of_lower_ones() -> None:
    evidence = Evidence()
    for limit in (2, 4, 8):
        evidence.note(window(limit, 50 * limit))
    evidence.forget(above=4)
    assert evidence.gain(2, 4)[1] < inf
    assert evidence.gain(4, 8)[1] == inf
    evidence.forget()
    assert evidence.gain(2, 4)[1] == inf
