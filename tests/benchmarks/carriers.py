"""What carrying the context costs, next to the standard library that leaves it behind."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING, Any

from measuring import Row, Turn, loop_turn, race, ratio_rows

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

STDLIB = "standard library"


def measure(rounds: int) -> list[Row]:
    """Race each carrier of ctxkit with the one whose place it takes, in a bound frame."""
    with ctxkit.bind(request_id="benchmark"):
        return [*_threads(rounds), *_tasks(rounds)]


def _threads(rounds: int) -> list[Row]:
    rows: list[Row] = []
    with ThreadPoolExecutor(1) as plain, ctxkit.ThreadPoolExecutor(1) as carrying:
        # One at a time would measure how soon the system wakes a thread, and little else.
        many = {
            STDLIB: loop_turn(lambda: _many(plain)),
            "ctxkit": loop_turn(lambda: _many(carrying)),
        }
        rows += ratio_rows("200 submits, wait for all", race(many, rounds=rounds, calls=1))
    starts = {
        STDLIB: loop_turn(lambda: _run(threading.Thread(target=_nothing))),
        "ctxkit": loop_turn(lambda: _run(ctxkit.Thread(target=_nothing))),
    }
    return rows + ratio_rows("Thread, start and join", race(starts, rounds=rounds, calls=20))


def _tasks(rounds: int) -> list[Row]:
    loop = asyncio.new_event_loop()
    try:
        tasks = {
            STDLIB: _awaiting(loop, lambda: asyncio.create_task(_anothing())),
            "ctxkit": _awaiting(loop, lambda: ctxkit.create_task(_anothing())),
        }
        hops = {
            STDLIB: _awaiting(loop, lambda: asyncio.to_thread(_nothing)),
            "ctxkit": _awaiting(loop, lambda: ctxkit.to_thread(_nothing)),
        }
        return [
            *ratio_rows("await create_task()", race(tasks, rounds=rounds, calls=100)),
            *ratio_rows("await to_thread()", race(hops, rounds=rounds, calls=20)),
        ]
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _awaiting(loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> Turn:
    async def batch(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            await make()
        return perf_counter() - start

    return lambda calls: loop.run_until_complete(batch(calls))


def _nothing() -> None:
    pass


async def _anothing() -> None:
    pass


def _many(pool: Any) -> None:
    for future in [pool.submit(_nothing) for _ in range(200)]:
        future.result()


def _run(thread: threading.Thread) -> None:
    thread.start()
    thread.join()
