"""What a call of a function costs, beside a wrapper that only enters a copy of the context.

The wrapper takes any arguments, as every decorator has to: what the call of it costs is not what
is measured. The call itself is there, too, for who does without a decorator.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

from measuring import Row, Turn, loop_turn, race, ratio_rows

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 2000


def nothing() -> None:
    """Do nothing."""


async def anothing() -> None:
    """Do nothing."""


async def asuspended() -> None:
    """Wait for one turn of the loop."""
    await asyncio.sleep(0)


def entering(function: Callable[[], Any]) -> Callable[..., Any]:
    """Return what enters a copy of the context, and nothing else."""

    def enter(*args: Any, **kwargs: Any) -> Any:
        return copy_context().run(function, *args, **kwargs)

    return enter


def aentering(function: Callable[[], Awaitable[Any]]) -> Callable[..., Any]:
    """Return the same for a coroutine function, whose body runs outside of it."""

    async def enter(*args: Any, **kwargs: Any) -> Any:
        return await copy_context().run(function, *args, **kwargs)

    return enter


@ctxkit.interceptor
def passing(call: ctxkit.Call) -> Any:
    """Pass it on."""
    return (yield call)


def awaiting(operation: Callable[[], Awaitable[object]]) -> Turn:
    """Return the turn that awaits ``operation`` again and again, in a loop."""

    async def main(calls: int) -> float:
        numbers = range(calls)
        start = perf_counter()
        for _ in numbers:
            await operation()
        return perf_counter() - start

    return lambda calls: asyncio.run(main(calls))


def measure(rounds: int) -> list[Row]:
    """Return the tables."""
    with ctxkit.bind(request_id="7", tenant="acme"):
        synchronous = race(
            {
                "a wrapper that enters a copied context": loop_turn(entering(nothing)),
                "copy_context().run(f)": loop_turn(lambda: copy_context().run(nothing)),
                "@ctxkit.function": loop_turn(ctxkit.function(nothing)),
                "with an interceptor": loop_turn(ctxkit.function(interceptors=[passing])(nothing)),
            },
            rounds=rounds,
            calls=CALLS,
        )
        asynchronous = race(
            {
                "a wrapper that enters a copied context": awaiting(aentering(anothing)),
                "@ctxkit.function": awaiting(ctxkit.function(anothing)),
                "with an interceptor": awaiting(ctxkit.function(interceptors=[passing])(anothing)),
            },
            rounds=rounds,
            calls=CALLS,
        )
        suspended = race(
            {
                "a wrapper that enters a copied context": awaiting(aentering(asuspended)),
                "@ctxkit.function": awaiting(ctxkit.function(asuspended)),
            },
            rounds=rounds,
            calls=CALLS // 4,
        )
    return [
        *ratio_rows("Empty function", synchronous),
        *ratio_rows("Empty coroutine function", asynchronous),
        *ratio_rows("Coroutine function that waits once", suspended),
    ]
