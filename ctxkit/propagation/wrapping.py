"""Callables that take today's context along."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ctxkit.context import capture

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def propagate(f: Callable[P, R]) -> Callable[P, R]:
    """Return ``f`` as a callable that runs in the context of this moment.

    For the callback, the hook, the foreign pool that knows nothing of contexts::

        scheduler.call_at(noon, ctxkit.propagate(send_report))

    Args:
        f: A ``def`` or ``async def`` function, a generator function of either kind, a
            bound method, a partial, a callable object.

    Returns:
        A callable of the same kind, with the name and attributes of ``f`` and equal to
        it. If ``f`` was wrapped before, ``f`` itself.

    Context:
        Captured now, not when the callable is called. Each call runs in a copy of its own:
        what it sets is seen neither here nor by the next call. Coroutines and generators
        run in their copy step by step, in the task that awaits them.
    """
    return capture().wrap(f)
