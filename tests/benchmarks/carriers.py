"""What carrying the context costs, next to the standard library that leaves it behind."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from measuring import Row, Turn, loop_turn, race, ratio_rows

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STDLIB = "standard library"


def measure(rounds: int) -> list[Row]:
    """Race each carrier of ctxkit with the one whose place it takes, in a bound frame."""
    pin()
    with ctxkit.bind(request_id="benchmark"):
        return [*_threads(rounds), *_tasks(rounds)]


def _threads(rounds: int) -> list[Row]:
    with ThreadPoolExecutor(1) as plain, ctxkit.ThreadPoolExecutor(1) as carrying:
        pools = {STDLIB: plain, "ctxkit": carrying}
        rows = submissions("submit(noop).result()", pools, rounds)
        # The one before measures how soon the system wakes a thread, and little else.
        many = {name: loop_turn(partial(_many, pool)) for name, pool in pools.items()}
        rows += ratio_rows("200 submits, wait for all", race(many, rounds=rounds, calls=1))
        for count in (10, 1_000):
            context = with_variables(count)
            turns = {
                name: in_context(context, loop_turn(partial(round_trip, pool)))
                for name, pool in pools.items()
            }
            rows += ratio_rows(
                f"submit(noop).result(), {count:,} variables", race(turns, rounds=rounds, calls=50)
            )
    starts = {
        STDLIB: loop_turn(lambda: _run(threading.Thread(target=_nothing))),
        "ctxkit": loop_turn(lambda: _run(ctxkit.Thread(target=_nothing))),
    }
    return rows + ratio_rows("Thread, start and join", race(starts, rounds=rounds, calls=20))


def pin() -> None:
    """Keep to one core, where the system allows it.

    A round trip between two threads takes three times as long on some days as on others, by
    the cores that they happen to be on.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def submissions(table: str, pools: Mapping[str, Any], rounds: int) -> list[Row]:
    """Race the pools, one job at a time."""
    turns = {name: loop_turn(partial(round_trip, pool)) for name, pool in pools.items()}
    return ratio_rows(table, race(turns, rounds=rounds, calls=50))


def round_trip(pool: Any) -> None:
    """Have a pool do nothing, and wait for it."""
    pool.submit(_nothing).result()


def with_variables(count: int) -> Context:
    """Return a copy of the current context in which so many further variables are set."""
    context = copy_context()
    for number in range(count):
        context.run(ContextVar(f"variable {number}").set, number)
    return context


def in_context(context: Context, turn: Turn) -> Turn:
    """Return ``turn`` as one that is had in ``context``."""
    return lambda calls: context.run(turn, calls)


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
