"""Adaptive pools: the limit is what the controller says, told at each end of a call."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import ctxkit
from ctxkit.functions import Pool


class Script:
    """Stand for the controller: note what it is told, and answer what is written."""

    def __init__(self, *limits: int) -> None:
        self.limits = [*limits]
        self.told: list[tuple[float, bool, bool]] = []

    def completed(self, now: float, seconds: float, *, waiting: bool, dropped: bool = False) -> int:
        assert abs(now - time.monotonic()) < 5
        self.told.append((seconds, waiting, dropped))
        return self.limits.pop(0)


def _scripted(*limits: int) -> tuple[Any, Script]:
    script = Script(*limits)
    pool = Pool.adaptive(4, initial=limits[0])
    gate: Any = pool._gate
    gate._controller = script
    return pool, script


@pytest.mark.rule("F-54")
def test_limit_changes_with_a_completion_alone_and_lets_in_who_waits() -> None:
    pool, script = _scripted(1, 3, 3, 3, 1)
    before = {*threading.enumerate()}  # others may end

    async def main() -> None:
        first = await pool.aacquire()
        others = [asyncio.create_task(pool.aacquire()) for _ in range(4)]
        await asyncio.sleep(0.005)
        assert pool.stats()[:3] == (1, 1, 4)
        script.limits.pop(0)
        first.release()
        slots = [await each for each in others[:3]]
        assert pool.stats()[:3] == (3, 3, 1)
        for slot in slots[:2]:
            slot.release()
        slots.append(await others[3])
        slots[2].release()
        assert pool.stats()[:3] == (1, 1, 0)
        script.limits.append(1)
        slots[3].release()

    asyncio.run(main())
    assert before.issuperset(threading.enumerate())
    assert [waiting for _, waiting, _ in script.told] == [True, True, False, False, False]


@pytest.mark.rule("F-54")
def test_controller_hears_how_long_a_call_ran_without_its_wait() -> None:
    pool, script = _scripted(1, 1, 1)

    async def main() -> None:
        slot = await pool.aacquire()
        later = asyncio.create_task(pool.aacquire())
        await asyncio.sleep(0.03)
        slot.release()
        second = await later
        assert second.waited >= 0.02
        second.release()

    asyncio.run(main())
    assert script.told[0][0] >= 0.02
    assert script.told[1][0] < script.told[0][0]


@pytest.mark.parametrize(
    ("error", "dropped"),
    [
        (None, False),
        (ValueError(), False),
        (ctxkit.DeadlineExceeded("f"), True),
        (ctxkit.PoolFull("p", 1), True),
        (ctxkit.PermissionDenied("f", "p", "no"), False),
    ],
)
def test_controller_hears_of_calls_that_were_too_many(error: Any, dropped: bool) -> None:  # noqa: FBT001 - a parameter
    pool, script = _scripted(1, 1)
    pool.acquire().release(error)
    assert [each[2] for each in script.told] == [dropped]


@pytest.mark.rule("F-54")
def test_calls_that_share_a_place_and_places_that_nobody_used_are_not_told() -> None:
    pool, script = _scripted(1)

    async def main() -> None:
        slot = await pool.aacquire()
        waiting = asyncio.create_task(pool.aacquire())
        await asyncio.sleep(0.005)
        with slot, await pool.aacquire():
            pass
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(main())
    assert len(script.told) == 1
    assert pool.stats()[1:4] == (0, 0, 1)


@pytest.mark.rule("F-54")
def test_limit_stays_within_its_bounds_under_load() -> None:
    with Pool.adaptive(6, min_size=2, initial=3) as pool:
        limits = set()

        async def work() -> None:
            with await pool.aacquire():
                await asyncio.sleep(0)
                limits.add(pool.stats().limit)

        async def main() -> None:
            for _ in range(5):
                await asyncio.gather(*(work() for _ in range(100)))

        asyncio.run(main())
        assert pool.stats()[1:4] == (0, 0, 500)
    assert limits <= {2, 3, 4, 5, 6}


def test_limit_of_calls_that_only_wait_grows() -> None:
    with Pool.adaptive(12, initial=2) as pool:
        grown, never = threading.Event(), threading.Event()

        def call_again() -> None:
            while not grown.is_set():
                with pool.acquire():
                    never.wait(0.01)
                if pool.stats().limit >= 6:
                    grown.set()

        threads = [threading.Thread(target=call_again) for _ in range(16)]
        for thread in threads:
            thread.start()
        assert grown.wait(30)
        for thread in threads:
            thread.join()
        assert pool.stats()[1:3] == (0, 0)
