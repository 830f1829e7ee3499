"""Pools as limits: who gets in, in which order, and that no place is ever lost."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from helpers.children import in_child

import ctxkit
from ctxkit.context import Deadline
from ctxkit.exceptions import Cancelled, DeadlineExceeded, PoolClosed, PoolFull
from ctxkit.functions import Pool, PoolStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.functions.pools import NoSlot, Slot


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


async def _auntil(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


@pytest.mark.rule("F-40")
def test_inline_pool_lets_calls_overlap_in_the_thread_and_task_of_the_caller() -> None:
    pool = Pool.inline()
    with pool.acquire() as first, pool.acquire() as second:
        assert first is second  # there is no lock, and nothing to count
    assert pool.stats() == PoolStats(None, 0, 0, 0, 0)

    async def main() -> None:
        task = asyncio.current_task()
        with await pool.aacquire() as slot:
            assert asyncio.current_task() is task
            assert slot.waited == 0.0

    asyncio.run(main())
    assert pool.submit(threading.get_ident).result() == threading.get_ident()


@pytest.mark.rule("F-41")
def test_static_pool_lets_two_in_and_one_wait_and_refuses_the_others() -> None:
    pool = Pool.static(2, buffer=1)
    go = threading.Event()
    inside: list[str] = []
    refused: list[PoolFull] = []
    peak = 0

    def enter(name: str) -> None:
        nonlocal peak
        inside.append(name)
        peak = max(peak, pool.stats().busy)

    def call(name: str) -> None:
        try:
            slot = pool.acquire()
        except PoolFull as full:
            refused.append(full)
            return
        enter(name)
        go.wait(10)
        slot.release()

    async def acall(name: str) -> None:
        try:
            slot = await pool.aacquire()
        except PoolFull as full:
            refused.append(full)
            return
        enter(name)
        await _auntil(go.is_set)
        slot.release()

    async def three() -> None:
        await asyncio.gather(*(acall(f"task {n}") for n in range(3)))

    threads = [threading.Thread(target=call, args=(f"thread {n}",)) for n in range(3)]
    threads.append(threading.Thread(target=asyncio.run, args=(three(),)))
    for thread in threads:
        thread.start()
    _until(lambda: len(refused) == 3)
    assert pool.stats() == PoolStats(2, 2, 1, 0, 3)
    go.set()
    for thread in threads:
        thread.join(10)
    assert (peak, len(inside)) == (2, 3)
    assert pool.stats() == PoolStats(2, 0, 0, 3, 3)
    assert (refused[0].retryable, refused[0].http_status, refused[0].waiting) == (True, 503, 1)


@pytest.mark.rule("F-41")
def test_callers_are_let_in_in_the_order_in_which_they_came() -> None:
    pool = Pool.lazy(1)
    order: list[int] = []
    first = pool.acquire()

    def call(number: int) -> None:
        with pool.acquire():
            order.append(number)

    async def acall(number: int) -> None:
        with await pool.aacquire():
            order.append(number)

    started: list[Any] = []
    for number in range(9):
        if number % 3 == 0:
            started.append(threading.Thread(target=call, args=(number,)))
        elif number % 3 == 1:
            started.append(threading.Thread(target=asyncio.run, args=(acall(number),)))
        if number % 3 == 2:
            pool.submit(order.append, number)
        else:
            started[-1].start()
        _until(lambda number=number: pool.stats().waiting == number + 1)
    first.release()
    for thread in started:
        thread.join(10)
    pool.shutdown()
    assert order == [*range(9)]


@pytest.mark.rule("F-42")
@pytest.mark.parametrize("kind", ["static", "lazy", "adaptive"])
def test_caller_whose_time_is_over_leaves_the_queue(kind: str) -> None:
    pool = Pool.auto(
        kind, max_size=None if kind == "static" else 4, workers=4 if kind == "static" else None
    )
    slots = [pool.acquire() for _ in range(4)]
    with pytest.raises(DeadlineExceeded):
        pool.acquire(Deadline.after(0.01))

    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await pool.aacquire(Deadline.after(0.01))
        waiting = asyncio.create_task(pool.aacquire())
        await _auntil(lambda: pool.stats().waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert pool.stats()[1:3] == (4, 0)
    for slot in slots:
        slot.release()
    assert pool.stats()[1:4] == (0, 0, 4)


@pytest.mark.rule("F-42")
def test_coroutine_that_is_cancelled_with_the_place_in_its_hand_gives_it_on() -> None:
    pool = Pool.static(1)

    async def main() -> None:
        slot = await pool.aacquire()
        first, second = (asyncio.create_task(pool.aacquire()) for _ in range(2))
        await _auntil(lambda: pool.stats().waiting == 2)
        slot.release()  # it is the first one's now, which has not heard of it
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        (await asyncio.wait_for(second, 10)).release()

    asyncio.run(main())
    assert pool.stats()[:4] == (1, 0, 0, 2)


@pytest.mark.rule("F-42")
def test_places_of_coroutines_whose_loop_was_closed_go_to_the_next() -> None:
    pool = Pool.lazy(1)
    slot = pool.acquire()
    loop = asyncio.new_event_loop()
    loop.set_debug(False)
    tasks = [loop.create_task(pool.aacquire()) for _ in range(1100)]  # more than may recurse
    loop.run_until_complete(asyncio.sleep(0))
    assert pool.stats().waiting == 1100
    loop.close()
    slot.release()
    assert pool.acquire(Deadline.after(10)).waited == 0
    del slot
    for task in tasks:
        task._log_destroy_pending = False
    del tasks, task
    gc.collect()
    assert pool.stats()[1:3] == (1, 0)


@pytest.mark.rule("F-42")
def test_coroutine_that_is_dropped_while_it_waits_leaves_the_queue() -> None:
    pool = Pool.static(1)

    async def main() -> None:
        slot = await pool.aacquire()
        waiting = pool.aacquire()
        waiting.send(None)
        assert pool.stats().waiting == 1
        waiting.close()
        assert pool.stats().waiting == 0
        slot.release()

    asyncio.run(main())
    assert pool.stats().busy == 0


def test_interrupted_thread_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    from ctxkit.functions.pools._waiters import ThreadWaiter  # noqa: PLC0415 - to break it

    pool = Pool.static(1)
    slot = pool.acquire()

    def interrupted(waiter: ThreadWaiter, _: object) -> None:
        slot.release()  # at the worst moment: the place has just been handed over
        assert waiter.slot is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadWaiter, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pool.acquire()
    assert pool.stats()[1:3] == (0, 0)


def test_releasing_twice_gives_one_place_back() -> None:
    pool = Pool.static(2)
    first, second = pool.acquire(), pool.acquire()
    for _ in range(3):
        first.release()
    assert pool.stats()[1:4] == (1, 0, 1)
    second.release(ValueError())
    assert pool.stats()[1:4] == (0, 0, 2)


@pytest.mark.rule("F-45")
def test_one_place_serves_three_loops_in_three_threads_one_after_the_other() -> None:
    pool = Pool.static(1)
    spans: list[tuple[float, float]] = []

    async def hold() -> None:
        with await pool.aacquire():
            begun = time.monotonic()
            await asyncio.sleep(0.05)
            spans.append((begun, time.monotonic()))

    begun = time.monotonic()
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: asyncio.run(hold()), range(3)))
    assert 0.149 <= time.monotonic() - begun < 5
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert pool.stats()[1:4] == (0, 0, 3)


@pytest.mark.rule("F-46")
def test_call_inside_a_call_shares_its_place() -> None:
    pool = Pool.static(1, buffer=0)

    def recurse(depth: int) -> int:
        with pool.acquire():
            return 1 + recurse(depth - 1) if depth else pool.stats().busy

    async def arecurse(depth: int) -> int:
        with await pool.aacquire():
            if not depth:
                return pool.stats().busy
            return 1 + await asyncio.create_task(arecurse(depth - 1))

    assert recurse(3) == 4
    assert asyncio.run(arecurse(3)) == 4
    assert pool.stats() == PoolStats(1, 0, 0, 2, 0)


@pytest.mark.rule("F-46")
def test_calls_side_by_side_inside_a_call_take_turns_on_its_place() -> None:
    pool = Pool.static(1)
    inside = peak = 0

    async def leaf() -> None:
        nonlocal inside, peak
        with await pool.aacquire():
            inside += 1
            peak = max(peak, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    async def fan_out() -> None:
        with await pool.aacquire():
            await asyncio.wait_for(asyncio.gather(*(leaf() for _ in range(8))), 10)

    asyncio.run(fan_out())
    assert peak == 1
    assert pool.stats() == PoolStats(1, 0, 0, 1, 0)


@pytest.mark.rule("F-46")
def test_call_that_outlives_the_one_whose_place_it_shares_has_it_for_itself() -> None:
    pool = Pool.static(1)

    async def main() -> None:
        go = asyncio.Event()

        async def inner() -> None:
            with await pool.aacquire():
                await go.wait()

        with await pool.aacquire():
            task = asyncio.create_task(inner())
            await asyncio.sleep(0)
        assert pool.stats().busy == 1
        with pytest.raises(DeadlineExceeded):
            await pool.aacquire(Deadline.after(0.005))
        go.set()
        await task
        assert pool.stats()[:4] == (1, 0, 0, 1)

    asyncio.run(main())


@pytest.mark.rule("F-46")
def test_job_does_not_share_the_place_of_who_submits_it_but_calls_in_it_share_its_own() -> None:
    pool = Pool.static(1)
    seen: list[tuple[int, int]] = []

    def job() -> None:
        with pool.acquire(Deadline.after(10)):
            seen.append(pool.stats()[1:3])

    with pool.acquire():
        first = pool.submit(job)
        assert pool.stats()[1:3] == (1, 1)
    first.result(10)

    async def main() -> None:
        pool.as_default_executor()
        await asyncio.to_thread(job)
        await ctxkit.to_thread(job)

    asyncio.run(main())
    assert seen == [(1, 0)] * 3
    pool.shutdown()


def test_place_of_a_job_is_not_hidden_by_one_that_its_context_had_and_that_is_over() -> None:
    with Pool.static(1) as pool:

        def job() -> bool:
            with pool.acquire(Deadline.after(5)):
                return True

        with pool.acquire():
            carried = pool.submit(ctxkit.propagate(job))
        assert carried.result(10)


def test_places_of_other_pools_between_do_not_hide_the_shared_one() -> None:
    outer, inner = Pool.static(1, buffer=0), Pool.static(1, buffer=0)
    context = copy_context()
    slot = outer.acquire()
    slot.hold_in(context)

    def nested() -> None:
        with inner.acquire(), outer.acquire(), inner.acquire():
            assert (outer.stats().busy, inner.stats().busy) == (1, 1)

    context.run(nested)
    slot.release()
    context.run(nested)  # nobody's any more: places of its own
    assert (outer.stats()[1:], inner.stats()[1:]) == ((0, 0, 2, 0), (0, 0, 2, 0))


@pytest.mark.rule("F-49")
def test_closed_pool_lets_in_who_waits_and_nobody_else() -> None:
    pool = Pool.static(1, name="about to close")
    slot = pool.acquire()
    late: list[Slot | NoSlot] = []
    thread = threading.Thread(target=lambda: late.append(pool.acquire()))
    thread.start()
    _until(lambda: pool.stats().waiting)
    job = pool.submit(int)
    pool.close()
    for refused in (pool.acquire, lambda: pool.submit(int), lambda: asyncio.run(pool.aacquire())):
        with pytest.raises(PoolClosed, match="about to close"):
            refused()
    slot.release()
    thread.join(10)
    late[0].release()
    assert job.result(10) == 0
    pool.shutdown()
    assert pool.stats()[1:4] == (0, 0, 3)
    inline = Pool.inline()
    inline.close()
    for refused in (
        inline.acquire,
        lambda: inline.submit(int),
        lambda: asyncio.run(inline.aacquire()),
    ):
        with pytest.raises(PoolClosed, match="inline"):
            refused()


@pytest.mark.rule("F-49")
def test_child_of_a_fork_begins_with_nobody_in() -> None:
    pool = Pool.static(1)
    pool.submit(int).result(10)
    slot = pool.acquire()
    waiting = threading.Thread(target=lambda: pool.acquire().release())
    waiting.start()
    _until(lambda: pool.stats().waiting)
    held = threading.Event()
    go = threading.Event()

    def hold_the_lock() -> None:
        with pool._gate.lock:  # type: ignore[union-attr]
            held.set()
            go.wait(10)

    holder = threading.Thread(target=hold_the_lock)
    holder.start()
    held.wait(10)

    def child() -> object:
        before = pool.stats()[1:3]
        with pool.acquire(Deadline.after(5)):
            slot.release()  # it was the parent's
            during = pool.stats()[1:3]
        return before, during, pool.submit(int).result(5), pool.stats().busy

    assert in_child(child) == [(0, 0), (1, 0), 0, 0]
    go.set()
    holder.join(10)
    assert pool.stats()[1:3] == (1, 1)
    slot.release()
    waiting.join(10)
    pool.shutdown()
    assert pool.stats()[1:3] == (0, 0)


@pytest.mark.rule("F-46")
def test_what_is_started_inside_a_call_takes_a_place_of_its_own() -> None:
    pool = Pool.static(1)

    @ctxkit.function
    async def inner() -> tuple[int, int]:
        with await pool.aacquire():
            return pool.stats()[1:3]

    @ctxkit.function
    async def outer() -> Any:
        with await pool.aacquire():
            started = inner.start()
            await _auntil(lambda: pool.stats().waiting)
            return started

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):  # it ended with its caller, waiting
            await (await outer())

    asyncio.run(main())
    assert pool.stats() == PoolStats(1, 0, 0, 1, 0)


def test_thread_whose_caller_is_gone_leaves_the_queue() -> None:
    pool = Pool.static(1)
    slot = pool.acquire()

    @ctxkit.function
    def wait() -> None:
        pool.acquire()

    started = wait.start()
    _until(lambda: pool.stats().waiting)
    started.cancel()
    with pytest.raises(Cancelled):
        started.result(10)
    assert pool.stats()[1:3] == (1, 0)
    slot.release()


@pytest.mark.rule("F-4A")
def test_wait_for_a_place_counts_against_the_deadline_and_is_told() -> None:
    pool = Pool.static(1)
    assert pool.acquire(Deadline.after(10)).waited == 0.0

    async def main() -> None:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await pool.aacquire(Deadline.after(0.02))
        assert 0.02 <= time.monotonic() - begun < 5

    asyncio.run(main())
    other = Pool.static(1)
    held = other.acquire()
    timer = threading.Timer(0.02, held.release)
    timer.start()
    slot = other.acquire(Deadline.after(10))
    assert 0.01 < slot.waited < 5
    slot.release()
    timer.join()


def test_thread_of_a_running_loop_is_refused_rather_than_blocked() -> None:
    pool = Pool.static(1)

    async def main() -> None:
        slot = await pool.aacquire()

        def elsewhere() -> None:
            with pytest.raises(PoolFull):
                pool.acquire()

        copied = copy_context()
        copied.run(elsewhere)
        slot.release()

    asyncio.run(main())


def test_pool_is_awaited_on_asyncio_alone() -> None:
    pool = Pool.static(1)
    slot = pool.acquire()
    with pytest.raises(RuntimeError, match="asyncio"):
        pool.aacquire().send(None)
    slot.release()
    assert pool.stats()[1:3] == (0, 0)


def test_larger_limit_lets_in_who_waits_and_a_smaller_one_sends_nobody_out() -> None:
    pool = Pool.static(1)
    gate = pool._gate
    assert gate is not None

    async def main() -> None:
        first = await pool.aacquire()
        others = [asyncio.create_task(pool.aacquire()) for _ in range(3)]
        await _auntil(lambda: pool.stats().waiting == 3)
        gate.resize(3)
        slots = [await others[0], await others[1]]
        assert pool.stats()[:3] == (3, 3, 1)
        gate.resize(1)
        first.release()
        slots[0].release()
        assert pool.stats()[:3] == (1, 1, 1)
        slots[1].release()
        (await others[2]).release()

    asyncio.run(main())
    assert pool.stats()[:4] == (1, 0, 0, 4)


def test_finalizer_may_release_while_its_thread_has_the_lock() -> None:
    pool = Pool.static(1)
    gate = pool._gate
    assert gate is not None
    slot = pool.acquire()
    with gate.lock:
        slot.release()
    assert pool.stats().busy == 0


@pytest.mark.rule("F-48")
@pytest.mark.parametrize("kind", ["inline", "static", "lazy", "adaptive"])
def test_call_runs_in_the_thread_of_its_caller_in_every_pool(kind: str) -> None:
    pool = Pool.auto(kind)
    before = {*threading.enumerate()}  # others may end
    with pool.acquire():
        assert before.issuperset(threading.enumerate())
    pool.shutdown()
