"""Starts, cancels and timeouts in a random order: in the end nobody is in, and nobody waits.

``CTXKIT_PROPERTY_EXAMPLES`` says how many, ``CTXKIT_PROPERTY_SEED`` what chance begins with. How
threads are interleaved is the machine's choice.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context import Deadline
from ctxkit.functions import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = int(os.environ.get("CTXKIT_PROPERTY_EXAMPLES", "300"))
AT_ONCE = 25
REFUSALS = (ctxkit.PoolFull, ctxkit.DeadlineExceeded)

MAKERS: dict[str, Callable[[Random], Pool]] = {
    "inline": lambda _: Pool.inline(),
    "static": lambda random: Pool.static(random.randint(1, 3), random.choice([None, 0, 2])),
    "lazy": lambda random: Pool.lazy(random.randint(1, 3), random.choice([0, 0.001, 30])),
    "adaptive": lambda random: Pool.adaptive(random.randint(1, 4)),
}


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def _deadline(random: Random) -> Deadline | None:
    return random.choice([None, Deadline.after(random.choice([0, 0.0005, 0.002]))])


class Fates:
    """Have a pool used in many ways at once."""

    def __init__(self, pool: Pool, seed: int) -> None:
        self.pool = pool
        self.random = Random(seed)
        self.peak = self.inside = 0
        self.lock = threading.Lock()

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            self.peak = max(self.peak, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1

    def body(self, depth: int) -> None:
        if depth:
            with suppress(*REFUSALS), self.pool.acquire(Deadline.after(0.002)):
                self.body(depth - 1)
            return
        self.enter()
        time.sleep(0.0002)
        self.leave()

    async def abody(self, depth: int, pause: float) -> None:
        if depth:
            with suppress(*REFUSALS):
                await asyncio.gather(*(self.acall(None, depth - 1, pause) for _ in range(2)))
            return
        self.enter()
        try:
            await asyncio.sleep(pause)
        finally:
            self.leave()

    async def acall(self, deadline: Deadline | None, depth: int, pause: float) -> None:
        with await self.pool.aacquire(deadline):
            await self.abody(depth, pause)

    def call(self, deadline: Deadline | None, depth: int) -> None:
        with suppress(*REFUSALS), self.pool.acquire(deadline):
            self.body(depth)

    async def some(self, random: Random, count: int) -> None:
        """Start coroutines on this loop, and cancel some of them, at any time."""
        tasks: list[asyncio.Task[None]] = []
        for _ in range(count):
            depth, pause = random.choice([0, 0, 0, 1, 2]), random.choice([0, 0, 0.0005])
            task = asyncio.create_task(self.acall(_deadline(random), depth, pause))
            tasks.append(task)
            if random.random() < 0.4:
                await asyncio.sleep(0)
            if random.random() < 0.4:
                random.choice(tasks).cancel()
        for task in tasks:
            if random.random() < 0.2:
                task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert error is None or isinstance(error, (asyncio.CancelledError, *REFUSALS))

    def some_jobs(self, random: Random, count: int) -> None:
        """Submit jobs, and cancel some of them."""
        for _ in range(count):
            with suppress(ctxkit.PoolFull):
                future = self.pool.submit(self.body, random.choice([0, 0, 1]))
                if random.random() < 0.4:
                    future.cancel()

    def live(self, count: int) -> None:
        """Have about so many callers, from threads, loops and as jobs, all at once."""
        random = self.random
        share = count // 5

        def seeded() -> Random:
            return Random(random.random())

        def some_calls(random: Random) -> None:
            for _ in range(share):
                self.call(_deadline(random), random.choice([0, 0, 1, 2]))

        works: list[tuple[Any, ...]] = [
            (some_calls, seeded()),
            (some_calls, seeded()),
            (lambda random: asyncio.run(self.some(random, share)), seeded()),
            (lambda random: asyncio.run(self.some(random, share)), seeded()),
            (lambda random: self.some_jobs(random, share), seeded()),
        ]
        failed: list[BaseException] = []

        def run(work: Any, random: Random) -> None:
            try:
                work(random)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=each) for each in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(50)
        assert not any(thread.is_alive() for thread in threads)
        assert failed == []


@pytest.mark.rule("F-42")
@pytest.mark.parametrize("kind", MAKERS)
def test_no_place_no_waiter_and_no_thread_is_left_whatever_happens(kind: str) -> None:
    left = EXAMPLES // len(MAKERS)
    before = {*threading.enumerate()}
    seed = int(os.environ.get("CTXKIT_PROPERTY_SEED", "20"))
    while left > 0:
        seed += 1
        pool = MAKERS[kind](Random(seed))
        fates = Fates(pool, seed)
        fates.live(AT_ONCE)
        pool.shutdown()
        stats = pool.stats()
        told = f"seed {seed}: {pool}, {stats}"
        assert stats[1:3] == (0, 0), told
        assert fates.inside == 0, told
        most = {"static": 3, "lazy": 3, "adaptive": 4}.get(kind)
        assert most is None or fates.peak <= most, told
        if pool._gate is not None and pool._crew is not None:
            assert not pool._gate.waiters, told
            assert not pool._crew.futures, told
        left -= AT_ONCE
    gc.collect()
    _until(lambda: not {*threading.enumerate()} - before)
