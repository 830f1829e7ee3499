"""Starts, cancels and timeouts of functions, over all pools: in the end nothing of them is left.

``CTXKIT_PROPERTY_EXAMPLES`` says how many calls, ``CTXKIT_PROPERTY_SEED`` what chance begins with.
How threads are interleaved is the machine's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import threading
import time
import weakref
from concurrent import futures
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.context.lifetime import pause
from ctxkit.exceptions import Cancelled, DeadlineExceeded, PoolFull
from ctxkit.functions import Pool, starting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.timeout(600)

EXAMPLES = int(os.environ.get("CTXKIT_PROPERTY_EXAMPLES", "400"))
SEED = int(os.environ.get("CTXKIT_PROPERTY_SEED", "7"))
AT_ONCE = 20
#: How a call may end that was disturbed.
ENDS = (Cancelled, DeadlineExceeded, PoolFull, futures.CancelledError, asyncio.CancelledError)

POOLS: dict[str, Callable[[], Pool | None]] = {
    "none": lambda: None,
    "inline": Pool.inline,
    "static": lambda: Pool.static(2, 30),
    "lazy": lambda: Pool.lazy(2, 0.001),
    "adaptive": lambda: Pool.adaptive(4),
}


class World:
    """Hold what must be gone in the end.

    Attributes:
        frames: The frames of all calls that are not forgotten.
        begun: How many bodies were entered.
        ended: How many were left.
        deferred: How many deferred callbacks have run.
    """

    def __init__(self, pool: Pool | None, random: Random) -> None:
        self.pool = pool
        self.random = random
        self.frames: weakref.WeakSet[ctxkit.Frame] = weakref.WeakSet()
        self.begun = self.ended = self.deferred = 0
        self.lock = threading.Lock()
        options: dict[str, Any] = {} if pool is None else {"pool": pool}
        self.work = ctxkit.function(**options)(self._work)
        self.awork = ctxkit.function(**options)(self._awork)

    def is_forgotten(self) -> bool:
        gc.collect()
        return not self.frames

    def count(self, what: str) -> None:
        with self.lock:
            setattr(self, what, getattr(self, what) + 1)

    def enter(self) -> None:
        self.count("begun")
        self.frames.add(ctxkit.current())
        ctxkit.defer(self.count, "deferred")

    def _work(self, seconds: float, depth: int) -> int:
        self.enter()
        try:
            if depth:
                child = self.work.start(seconds, depth - 1)
                if seconds:
                    child.cancel()
            pause(seconds)
            ctxkit.checkpoint()
            return depth
        finally:
            self.count("ended")

    async def _awork(self, seconds: float, depth: int) -> int:
        self.enter()
        try:
            if depth:
                choose = self.work if depth % 2 else self.awork
                choose.start(seconds, depth - 1)
            await asyncio.sleep(seconds)
            return depth
        finally:
            self.count("ended")

    def options(self) -> dict[str, Any]:
        return self.random.choice([{}, {}, {"timeout": self.random.choice([0.0005, 0.003])}])

    def arguments(self) -> tuple[float, int]:
        return self.random.choice([0, 0.0004, 0.002]), self.random.choice([0, 0, 1, 2])

    def live_in_threads(self) -> None:
        """Start calls from synchronous code, cancel some, and ask for some of the results."""
        started = []
        for _ in range(AT_ONCE):
            function = self.random.choice([self.work, self.work, self.awork])
            future = function.using(**self.options()).start(*self.arguments())
            started.append(future)
            if self.random.random() < 0.3:
                self.random.choice(started).cancel()
        for future in started:
            if self.random.random() < 0.2:
                future.cancel()
            with contextlib.suppress(ENDS):
                future.result()

    async def live_in_a_loop(self) -> None:
        """Do the same from a coroutine."""
        started = []
        for _ in range(AT_ONCE):
            function = self.random.choice([self.work, self.awork, self.awork])
            task = function.using(**self.options()).start(*self.arguments())
            started.append(task)
            if self.random.random() < 0.3:
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                self.random.choice(started).cancel()
        for ended in await asyncio.gather(*started, return_exceptions=True):
            assert isinstance(ended, (int, *ENDS)), repr(ended)
        this = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not this] == []


def _until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def unheard() -> Iterator[None]:
    """Have nothing logged: pytest keeps records, whose tracebacks hold frames."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unheard")
@pytest.mark.rule("F-27")
@pytest.mark.rule("F-42")
@pytest.mark.parametrize("kind", POOLS)
def test_no_slot_task_thread_or_frame_is_left_of_random_calls(kind: str) -> None:
    before = threading.active_count()
    calls, seed = 0, SEED
    while calls < EXAMPLES // len(POOLS):
        seed += 1
        pool = POOLS[kind]()
        world = World(pool, Random(seed))
        with ctxkit.invocation("threads", leftovers="ignore", mode="never"):
            world.live_in_threads()
        with ctxkit.invocation("loop", leftovers="ignore", mode="never"):
            asyncio.run(world.live_in_a_loop())
        told = f"seed {seed}"
        assert world.begun == world.ended == world.deferred, told
        if pool is not None:
            pool.shutdown()
            assert pool.stats()[1:3] == (0, 0), told
        # A thread that has given its result takes a moment to leave what it ran.
        _until(world.is_forgotten)
        calls += 2 * AT_ONCE
    for executor in starting._executors:
        executor.shutdown()
    starting._executors.clear()
    _until(lambda: threading.active_count() <= before)
