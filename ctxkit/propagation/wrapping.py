"""Callables and iterators that take today's context along, or leave it behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ctxkit.context import aiterate_in, capture, iterate_in
from ctxkit.context._carriers import Carrier

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable

    from ctxkit.context import Key

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


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

    Raises:
        ConfigurationError: ``f`` cannot be called.

    Context:
        Captured now, not when the callable is called. Each call runs in a copy of its own:
        what it sets is seen neither here nor by the next call. Coroutines and generators
        run in their copy step by step, in the task that awaits them.
    """
    return capture().wrap(f)


def detached(f: Callable[P, R], *, keep: Iterable[str | Key[Any]] = ()) -> Callable[P, R]:
    """Return ``f`` as a callable that leaves the context behind.

    For work that must not hold the request alive: what it starts, a task, a thread, a
    timer or a connection, keeps the context that it was started in as long as it lives. So
    it is the *starting* that has to be detached::

        async def view(request):
            ctxkit.detached(asyncio.create_task)(refresh_prices())
            ctxkit.detached(loop.call_later)(3600, forget_prices)
            ctxkit.detached(watcher.start)()  # a thread

    Args:
        f: As for :func:`propagate`.
        keep: Keys whose values are taken along all the same, as they are bound now.

    Returns:
        A callable of the same kind, with the name and attributes of ``f`` and equal to it.

    Raises:
        ConfigurationError: ``f`` cannot be called, or ``keep`` is no collection of keys.

    Context:
        Each call runs in a context of its own which holds ``keep`` and nothing else: no
        other variable, no deadline, no scope or span of Sentry's and OpenTelemetry's; what
        accessors hold is cleared meanwhile. What the *arguments* hold (a coroutine that
        was given the request) stays alive with them.
    """
    inner = f.__wrapped__ if isinstance(f, Carrier) else f  # what it was wrapped in is left behind
    return capture(keys=keep).wrap(inner)


def iterate(iterable: Iterable[T]) -> Generator[T, Any, Any]:
    """Iterate over ``iterable`` in the context of this moment.

    A generator runs in the context of whoever asks for its next item, and what it sets
    there stays there: a streaming body loses its request, or leaves it to the server. ::

        def export(request):
            return StreamingHttpResponse(ctxkit.iterate(rows(request)))

    Args:
        iterable: An iterator, a generator or whatever else can be iterated over.

    Returns:
        A generator; ``send``, ``throw`` and ``close`` reach ``iterable``.

    Context:
        Captured now. Every step, and ``close``, runs in one copy, whichever thread takes
        it: what one step sets the next one sees, and nobody else does.
    """
    return iterate_in(capture().enter(), iterable)


def aiterate(iterable: AsyncIterable[T]) -> AsyncGenerator[T, Any]:
    """Iterate over the asynchronous ``iterable`` in the context of this moment.

    The twin of :func:`iterate`. Every step, and ``aclose``, runs in one copy, in the task
    that takes it; a token taken in one step is good in any other.
    """
    return aiterate_in(capture().enter(), iterable)
