from __future__ import annotations

import threading
from math import inf

import pytest
from helpers.clocks import FakeClocks

from ctxkit.lifecycle._sentinel import PATIENCE, PERIOD, Sentinel


@pytest.fixture
def clocks() -> FakeClocks:
    return FakeClocks()


@pytest.fixture
def sentinel(clocks: FakeClocks) -> Sentinel:
    """A sentinel that watches, ticked by hand, and that was settled once."""
    sentinel = Sentinel(clocks.as_clocks())
    sentinel.watch(thread=False)
    sentinel.settle()
    return sentinel


def run(sentinel: Sentinel, clocks: FakeClocks, seconds: float) -> None:
    for _ in range(round(seconds / PERIOD)):
        clocks.idle(PERIOD)
        sentinel.tick()


def test_sentinel_at_first_is_due_at_once(clocks: FakeClocks) -> None:
    assert Sentinel(clocks.as_clocks()).due == -inf


def test_sentinel_that_nobody_watches_is_never_due(clocks: FakeClocks) -> None:
    sentinel = Sentinel(clocks.as_clocks())

    assert sentinel.settle() == 0
    assert sentinel.due == inf


def test_sentinel_of_an_idle_process_is_not_due(sentinel: Sentinel, clocks: FakeClocks) -> None:
    run(sentinel, clocks, 600)

    assert clocks.wall < sentinel.due
    assert sentinel.settle() == 0


def test_sentinel_of_a_stopped_process_is_due_before_it_ticks(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    run(sentinel, clocks, 1)

    clocks.idle(30)

    assert clocks.wall > sentinel.due
    assert sentinel.settle() == pytest.approx(30, abs=PERIOD + 0.01)


def test_sentinel_that_ticks_first_after_a_stop_says_so_all_the_same(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    clocks.idle(30)
    run(sentinel, clocks, 5)

    assert sentinel.due == -inf
    assert sentinel.settle() == pytest.approx(30, abs=PERIOD + 0.01)


def test_sentinel_adds_up_several_stops(sentinel: Sentinel, clocks: FakeClocks) -> None:
    for _ in range(3):
        clocks.idle(10)
        run(sentinel, clocks, 1)

    assert sentinel.settle() == pytest.approx(30, abs=3 * PERIOD + 0.01)


def test_sentinel_calls_the_request_after_a_thaw_too(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    """Or that would go on reading of the gap before the one before it."""
    clocks.idle(30)
    sentinel.settle()

    assert sentinel.due == -inf
    assert sentinel.settle() == 0
    assert sentinel.due > clocks.wall


def test_sentinel_of_a_busy_process_hears_of_no_stop(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    """A C extension that computes with the GIL held lets no other thread tick."""
    clocks.idle(20, busy=1.0)

    assert sentinel.settle() == 0


def test_sentinel_takes_work_out_of_a_stop(sentinel: Sentinel, clocks: FakeClocks) -> None:
    clocks.idle(20)
    clocks.idle(5, busy=1.0)

    assert sentinel.settle() == pytest.approx(20, abs=PERIOD + 0.01)


def test_sentinel_overlooks_a_tick_that_is_a_little_late(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    clocks.idle(PERIOD + PATIENCE * 0.9)

    assert sentinel.settle() == 0


def test_sentinel_hears_of_a_pause_that_the_monotonic_clock_left_out(
    sentinel: Sentinel, clocks: FakeClocks
) -> None:
    clocks.wall += 3600  # as a paused virtual machine may

    assert clocks.wall > sentinel.due
    assert sentinel.settle() == pytest.approx(3600)


@pytest.mark.parametrize("step", [-3600.0, 0.5])
def test_sentinel_overlooks_a_clock_that_is_set_back_or_a_little_forward(
    sentinel: Sentinel, clocks: FakeClocks, step: float
) -> None:
    clocks.wall += step
    run(sentinel, clocks, 1)

    assert sentinel.settle() == 0
    assert clocks.wall < sentinel.due < clocks.wall + 1


def test_sentinel_watches_with_one_thread_that_ends() -> None:
    sentinel = Sentinel()
    sentinel.watch()
    sentinel.watch()
    threads = [each for each in threading.enumerate() if each.name == "ctxkit.sentinel"]
    ours = [each for each in threads if each.is_alive()]

    sentinel.stop()

    for each in ours:
        assert each.daemon
    ours[-1].join(10)
    assert not ours[-1].is_alive()


def test_sentinel_without_a_thread_to_be_had_watches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sentinel = Sentinel()

    sentinel.watch()

    assert not sentinel.watching
    assert sentinel.settle() == 0
    assert sentinel.due == inf
