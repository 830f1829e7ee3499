"""The adaptive controller by itself: fed with calls that a test makes up, nothing runs."""

from __future__ import annotations

import threading
from math import floor, inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxkit.functions.pools._controller import Controller

WINDOW = 0.25  # seconds, with the rates below


class Fed:
    """A controller, and calls that end at an even pace.

    Attributes:
        rate: How many calls end in a second, by the limit.
        stays: The limit after each change, and how many windows the one before had stayed.
    """

    def __init__(self, controller: Controller, width: int = 8) -> None:
        self.controller = controller
        self.rate = lambda limit: 50.0 * min(limit, width)
        self.now = 1000.0
        self.stays: list[tuple[int, float]] = []
        self._changed = self.now

    def call(self, *, used: float = 1.0, waiting: bool = True, dropped: bool = False) -> int:
        limit = self.controller.limit
        rate = self.rate(limit)
        self.now += 1 / rate
        new = self.controller.completed(
            self.now, used * limit / rate, waiting=waiting, dropped=dropped
        )
        if new != limit:
            self.stays.append((new, (self.now - self._changed) / WINDOW))
            self._changed = self.now
        return new

    def windows(self, number: float, *, used: float = 1.0, waiting: bool = True) -> None:
        end = self.now + number * WINDOW
        while self.now < end:
            self.call(used=used, waiting=waiting)


def controller(max_size: int = 32, min_size: int = 1, initial: int | None = None) -> Controller:
    return Controller(max_size, min_size, initial, Random(5))


@pytest.mark.parametrize(
    ("sizes", "limit"), [((32,), 4), ((2,), 2), ((32, 6), 6), ((32, 1, 20), 20)]
)
def test_controller_begins_with_four_or_what_it_is_told(sizes: tuple[int, ...], limit: int) -> None:
    assert Controller(*sizes).limit == limit


@pytest.mark.parametrize("sizes", [(0,), (4, 5), (4, 0), (4, 1, 5), (4, 2, 1)])
def test_controller_with_sizes_that_do_not_hold_one_another_is_refused(
    sizes: tuple[int, ...],
) -> None:
    with pytest.raises(ValueError, match=r"min_size must be|initial must be"):
        Controller(*sizes)


@pytest.mark.rule("F-53")
def test_limit_that_is_hardly_used_for_eight_windows_falls_by_one() -> None:
    fed = Fed(controller(initial=10))
    fed.windows(7.9, used=0.49, waiting=False)
    assert fed.controller.limit == 10
    fed.windows(0.2, used=0.49, waiting=False)
    assert fed.controller.limit == 9


@pytest.mark.rule("F-53")
def test_limit_that_is_hardly_used_falls_to_the_lowest_and_stays() -> None:
    fed = Fed(controller(min_size=2, initial=4))
    fed.windows(60, used=0.1, waiting=False)
    assert [limit for limit, _ in fed.stays] == [3, 2]


@pytest.mark.rule("F-53")
def test_limit_that_is_half_used_now_and_then_stays() -> None:
    fed = Fed(controller(initial=10))
    for _ in range(5):
        fed.windows(7, used=0.3, waiting=False)
        fed.windows(2, used=0.6, waiting=False)
    assert fed.stays == []


@pytest.mark.rule("F-53")
def test_limit_that_is_hardly_used_but_for_a_rush_in_between_stays() -> None:
    fed = Fed(controller(initial=10))
    fed.windows(7, used=0.3, waiting=False)
    fed.windows(1.2)
    fed.windows(7, used=0.3, waiting=False)
    assert 9 not in [limit for limit, _ in fed.stays]


@pytest.mark.rule("F-53")
@pytest.mark.parametrize("used", [0.5, 0.89])
def test_limit_that_is_well_used_stays(used: float) -> None:
    fed = Fed(controller(initial=10), width=2)
    fed.windows(1000, used=used, waiting=False)
    assert fed.stays == []


@pytest.mark.rule("F-55")
def test_limit_for_which_nobody_waits_never_grows() -> None:
    fed = Fed(controller(initial=4), width=2)
    fed.windows(1000, waiting=False)
    assert fed.stays == []


@pytest.mark.rule("F-55")
def test_limit_for_which_somebody_waits_at_times_never_grows() -> None:
    fed = Fed(controller(initial=4), width=2)
    for number in range(5000):
        fed.call(waiting=number % 10 < 8)
    assert fed.stays == []


@pytest.mark.rule("F-54")
@settings(max_examples=50, deadline=None, database=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=3, max_size=3).map(sorted),
    seed=st.integers(0, 999),
)
def test_limit_stays_within_the_bounds_whatever_happens(sizes: list[int], seed: int) -> None:
    low, initial, high = sizes
    chance = Random(seed)
    fed = Controller(high, low, initial, Random(seed))
    now = 0.0
    threads = {*threading.enumerate()}  # others may end
    for _ in range(300):
        now += chance.choice((0.0, 0.001, 0.02, 60.0))
        limit = fed.completed(
            now,
            chance.choice((0.0, 1e-9, 0.02, 5.0)),
            waiting=chance.random() < 0.9,
            dropped=chance.random() < 0.01,
        )
        assert low <= limit <= high
        assert limit == fed.limit
    assert threads.issuperset(threading.enumerate())


@pytest.mark.rule("F-54")
def test_limit_of_a_controller_that_hears_of_no_call_stays() -> None:
    fed = Fed(controller(initial=8))
    fed.windows(30)
    limit, changes = fed.controller.limit, len(fed.stays)
    fed.now += 3600
    assert fed.controller.limit == limit
    assert len(fed.stays) == changes


@pytest.mark.rule("F-56")
def test_probe_that_does_not_pay_goes_back_to_where_it_came_from() -> None:
    fed = Fed(controller(initial=8))
    fed.windows(400)
    ways = [limit for limit, _ in fed.stays]
    assert ways[0] == 16  # a wide step first, then narrow ones
    assert ways[-8:].count(9) == 2
    assert set(ways[1::2]) == {8}


@pytest.mark.rule("F-56")
def test_probes_that_do_not_pay_become_rarer_until_throughput_changes() -> None:
    fed = Fed(controller(initial=8))
    fed.windows(600)
    # The first one was for the patience with a smaller limit.
    pauses = [stay for limit, stay in fed.stays if limit != 8 and stay > 2.5][1:7]
    for pause, windows in zip(pauses, (2, 4, 8, 16, 32, 32), strict=True):
        assert 0.75 * windows + 1 <= pause <= 1.25 * windows + 3
    fed.rate = lambda limit: 60.0 * min(limit, 8)
    fed.stays.clear()
    fed.windows(8)
    assert len(fed.stays) >= 2


@pytest.mark.rule("F-57")
def test_drop_takes_a_tenth_and_one_of_a_window_counts() -> None:
    fed = Fed(controller(initial=25), width=25)
    assert fed.call(dropped=True) == floor(0.9 * 25)
    assert [fed.call(dropped=True) for _ in range(100)] == [22] * 100


@pytest.mark.rule("F-57")
def test_drop_in_a_later_window_takes_another_tenth() -> None:
    fed = Fed(controller(initial=25), width=25)
    fed.call(dropped=True)
    fed.windows(1.5)
    assert fed.controller.limit == 22
    assert fed.call(dropped=True) == 19


@pytest.mark.rule("F-57")
def test_drop_while_more_is_tried_ends_that_too() -> None:
    fed = Fed(controller(initial=8))
    while fed.controller.limit <= 8:
        fed.call()
    assert fed.call(dropped=True) == 8
    fed.windows(1)
    assert fed.controller.limit == 8


@pytest.mark.rule("F-57")
def test_drop_has_what_was_known_of_higher_limits_forgotten() -> None:
    fed = Fed(controller(initial=8))
    fed.windows(30)
    assert fed.controller._evidence.gain(8, 16)[1] < inf
    while fed.controller.limit != 8:
        fed.call()
    fed.call(dropped=True)
    assert fed.controller._evidence.gain(8, 16)[1] == inf


def test_calls_that_were_dropped_are_not_counted_as_done() -> None:
    fed = Fed(controller(max_size=8, min_size=8, initial=8))
    for number in range(1000):
        fed.call(dropped=bool(number % 2))
    seen = fed.controller._evidence._seen[8]
    assert seen.good == pytest.approx(seen.calls / 2, rel=0.05)


def test_drop_at_the_lowest_limit_leaves_it() -> None:
    fed = Fed(controller(min_size=3, initial=3))
    assert fed.call(dropped=True) == 3


def test_process_that_was_frozen_goes_on_as_before() -> None:
    fed = Fed(controller(initial=8))
    fed.windows(400)
    fed.controller.limit = fed.controller._base
    fed.stays.clear()
    rest = fed.controller._rest
    fed.now += 3600
    fed.windows(1)
    assert fed.stays == []
    assert fed.controller._rest in {rest, rest - 1}
    assert fed.controller._fails == 5


def test_limit_up_there_that_serves_all_is_kept_for_what_it_yields() -> None:
    """Demand is 300 a second: 4 at a time yield 200, and at 8 nobody waits."""
    fed = Fed(controller(initial=4))
    while fed.controller.limit == 4:
        fed.call()
    fed.rate = lambda limit: min(300.0, 50.0 * limit)
    while fed.controller.limit == 8 and fed.now < 1100:
        fed.call(waiting=False, used=0.75)
    assert fed.now > 1100


def test_limit_up_there_at_which_nobody_waits_and_no_more_is_done_is_left() -> None:
    fed = Fed(controller(initial=4), width=4)
    while fed.controller.limit == 4:
        fed.call()
    fed.windows(2, waiting=False)
    assert fed.controller.limit == 4
