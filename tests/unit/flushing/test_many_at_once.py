"""Callers that end together: how many passes they share, and when these run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import GatedSink, wait_until

from ctxkit.flushing import _lane, add_sink, engine, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from ctxkit.flushing import FlushReport


class Gathering:
    """Takes the place of the moment in which a pass waits for others to join it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.begun = threading.Semaphore(0)
        self.over = threading.Semaphore(0)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.begun.release()
        assert self.over.acquire(timeout=20)


@pytest.fixture
def gathering(monkeypatch: pytest.MonkeyPatch) -> Gathering:
    moment = Gathering()
    monkeypatch.setattr(_lane, "sleep", moment)
    return moment


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as executor:
        yield executor


@pytest.fixture
def sink() -> Iterator[GatedSink]:
    gated = GatedSink()
    add_sink(gated)
    yield gated
    gated.gate.release(99)


def waiting_at(lane: _lane.Lane) -> int:
    queued = lane._queued
    return 0 if queued is None else len(queued.latches)


def many(pool: ThreadPoolExecutor, count: int) -> list[Future[FlushReport]]:
    """Flush ``count`` times at once; return when all wait for the pass to come."""
    [lane] = engine._ENGINE.lanes()
    futures = [pool.submit(flush, 15) for _ in range(count)]
    wait_until(lambda: waiting_at(lane) == count)
    return futures


def test_flush_of_many_runs_their_pass_while_the_first_still_waits(
    sink: GatedSink, gathering: Gathering, pool: ThreadPoolExecutor
) -> None:
    sink.concurrency = 4  # type: ignore[attr-defined]
    first = pool.submit(flush, 15)
    assert sink.entered.acquire(timeout=10)
    others = many(pool, 15)
    assert gathering.begun.acquire(timeout=10)

    gathering.over.release()
    assert sink.entered.acquire(timeout=10), "the second pass waits for the first"
    assert not first.done()
    sink.gate.release(2)

    assert first.result().ok
    assert all(other.result().ok for other in others)
    assert len(sink.timeouts) == 2
    assert len(set(sink.threads)) == 2
    assert gathering.seconds == [pytest.approx(0.005)]


def test_flush_of_many_on_a_serial_sink_shares_the_pass_after_the_first(
    sink: GatedSink, gathering: Gathering, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(flush, 15)
    assert sink.entered.acquire(timeout=10)
    others = many(pool, 15)

    assert not sink.entered.acquire(timeout=0.05)
    sink.gate.release(2)

    assert first.result().ok
    assert all(other.result().ok for other in others)
    assert len(sink.timeouts) == 2
    assert len(set(sink.threads)) == 1
    assert gathering.seconds == [], "nobody is waited for that had the time to come"


@pytest.mark.parametrize(("offered", "taken"), [(2, 2), (99, _lane.MOST_AT_ONCE), ("many", 1)])
def test_flush_never_runs_more_passes_than_the_sink_takes(
    sink: GatedSink,
    pool: ThreadPoolExecutor,
    offered: object,
    taken: int,
    flush_threads: Callable[[], list[str]],
) -> None:
    sink.concurrency = offered  # type: ignore[attr-defined]
    futures = []
    for _ in range(taken):
        futures.append(pool.submit(flush, 15))
        assert sink.entered.acquire(timeout=10)

    last = many(pool, 1)

    assert not sink.entered.acquire(timeout=0.05)
    assert len(flush_threads()) == taken
    sink.gate.release(taken + 1)
    assert all(future.result().ok for future in futures + last)
    assert len(sink.timeouts) == taken + 1


def test_flush_follows_a_sink_that_changes_its_mind(
    sink: GatedSink, pool: ThreadPoolExecutor
) -> None:
    first = pool.submit(flush, 15)
    assert sink.entered.acquire(timeout=10)
    sink.concurrency = 2  # type: ignore[attr-defined]

    second = pool.submit(flush, 15)

    assert sink.entered.acquire(timeout=10)
    sink.gate.release(2)
    assert first.result().ok
    assert second.result().ok


def test_flush_beside_a_pass_that_hangs_begins_no_other(
    sink: GatedSink, pool: ThreadPoolExecutor
) -> None:
    sink.concurrency = 4  # type: ignore[attr-defined]
    assert flush(0.02).results[0].status == "timeout"

    assert sink.entered.acquire(timeout=10)

    assert [flush(0.02).results[0].status for _ in range(5)] == ["in_flight"] * 5

    assert not sink.entered.acquire(timeout=0.05)
    sink.gate.release(9)
    assert pool.submit(flush, 15).result().ok


def test_flush_beside_a_pass_that_fails_is_told_of_it(
    sink: GatedSink, pool: ThreadPoolExecutor
) -> None:
    """What the caller recorded may have been taken, and lost, by the pass that ran before."""
    sink.concurrency = 2  # type: ignore[attr-defined]
    gates = [threading.Semaphore(0), threading.Semaphore(0)]
    numbers = iter(range(2))

    def work() -> Any:
        number = next(numbers)
        sink.entered.release()
        return gates[number].acquire(timeout=20) and number > 0

    sink.work = work
    first = pool.submit(flush, 15)
    assert sink.entered.acquire(timeout=10)
    second = pool.submit(flush, 15)
    assert sink.entered.acquire(timeout=10)

    gates[0].release()
    assert first.result().results[0].status == "error"
    gates[1].release()

    assert second.result().results[0].status == "error"
