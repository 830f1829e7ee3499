"""Tasks and threads of an event loop, with the context of whoever asked for them."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ctxkit.context._children import NOTING, note, note_in
from ctxkit.context.errand import Errand, forked_context
from ctxkit.propagation.parcels import Parcel, is_elsewhere
from ctxkit.propagation.pools import carries
from ctxkit.propagation.writeback import Returning

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Executor
    from contextvars import ContextVar

    from ctxkit.context import Key

T = TypeVar("T")


def create_task(
    coro: Coroutine[Any, Any, T], *, context: Context | None = None, **options: Any
) -> asyncio.Task[T]:
    """Start ``coro`` as a task of the running loop, in a copy of the current context.

    Args:
        coro: The coroutine.
        context: The context to run in, instead of a copy of the current one.
        options: Whatever else :func:`asyncio.create_task` takes: ``name``.

    Returns:
        The task. Keep it: the loop does not.

    Context:
        Captured now. asyncio does that too; here Sentry's scopes are forked besides, so
        that a tag set in the task does not appear on its parent.
    """
    task: asyncio.Task[T]
    if context is not None:
        task = asyncio.create_task(coro, context=context, **options)
        if NOTING.on:
            note_in(context, task)
        return task
    # Not context=: some task factories do not take it.
    start: Callable[..., Any] = asyncio.create_task
    task = forked_context().run(start, coro, **options)
    if NOTING.on:
        note(task)
    return task


def to_thread(
    f: Callable[..., T],
    /,
    *args: Any,
    writeback: Iterable[Key[Any] | ContextVar[Any]] = (),
    **kwargs: Any,
) -> Coroutine[Any, Any, T]:
    """Run ``f(*args, **kwargs)`` in the loop's thread pool; await the result.

    Takes the place of :func:`asyncio.to_thread`, which loses Django's language and time
    zone, and lets the thread write to the Sentry scope of its parent.

    Args:
        f: What to run.
        args: Its arguments.
        writeback: Keys and context variables whose values come back: what ``f`` has set
            (:meth:`ctxkit.Key.set`) is set where the result is awaited, also if ``f``
            raised. Not if the awaiting was cancelled. A value that was set here meanwhile
            is kept, with a ``RuntimeWarning``. Values are told apart by identity.
        kwargs: Its keyword arguments.

    Raises:
        ConfigurationError: ``writeback`` holds something else.

    Context:
        Captured at the call, not when it is awaited. What ``f`` sets stays in its thread,
        but for ``writeback``.
    """
    if not writeback:
        return _in_default_pool(partial(Errand(f), *args, **kwargs))
    returning = Returning(writeback)
    return _written_back(partial(Errand(returning.watched(f)), *args, **kwargs), returning)


async def _in_default_pool(job: Callable[[], T]) -> T:
    return await _hand_over(None, job)


async def _written_back(job: Callable[[], T], returning: Returning) -> T:
    try:
        result = await _hand_over(None, job)
    except asyncio.CancelledError:  # the thread may still be at it
        raise
    except BaseException:
        returning.write()
        raise
    returning.write()
    return result


def run_in_executor(
    executor: Executor | None, f: Callable[..., T], *args: Any
) -> asyncio.Future[T]:
    """Run ``f(*args)`` in ``executor``; await the future that is returned.

    Takes the place of ``loop.run_in_executor``, which carries no context at all.

    Args:
        executor: A pool of threads, or None for the loop's own; of a pool of processes or
            interpreters, jobs get what keys declare, as with
            :class:`ctxkit.ProcessPoolExecutor`.
        f: What to run.
        args: Its arguments.

    Raises:
        ConfigurationError: The value of a key that goes to processes cannot be written down.

    Context:
        Captured at the call. What ``f`` sets stays in its thread.
    """
    if carries(executor):
        return asyncio.get_running_loop().run_in_executor(executor, f, *args)
    job: Callable[..., T] = Parcel(f) if is_elsewhere(executor) else Errand(f)
    return _hand_over(executor, job, *args)


def _hand_over(executor: Executor | None, job: Callable[..., T], *args: Any) -> asyncio.Future[T]:
    # In an empty context: the pool may start a worker, see pools.py.
    loop = asyncio.get_running_loop()
    if not NOTING.on:
        return Context().run(loop.run_in_executor, executor, job, *args)
    noted = None if type(job) is Parcel else _Job(job)
    future: asyncio.Future[T] = Context().run(loop.run_in_executor, executor, noted or job, *args)
    if noted is None:
        note(future)
    else:
        noted.future = future
        note(noted)
    return future


class _Job:
    """Stand for a job of a pool, whose own future asyncio does not show.

    asyncio's future is over when it was cancelled; the thread may be at it still.
    """

    __slots__ = ("__weakref__", "_f", "_over", "future")

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = [f]  # until it begins, and only one can take it out
        self._over = False
        self.future: asyncio.Future[Any] | None = None

    def __call__(self, /, *args: Any) -> Any:
        try:
            return self._take()(*args)
        finally:
            self._over = True
            self.future = None

    def _take(self) -> Callable[..., Any]:
        try:
            return self._f.pop()
        except IndexError:
            raise CancelledError from None

    def done(self) -> bool:
        """Tell whether it has ended, or is never going to begin."""
        future = self.future
        return self._over or bool(self._f and future is not None and future.cancelled())

    def cancel(self) -> bool:
        """Keep it from beginning; return whether that was possible."""
        try:
            self._f.pop()
        except IndexError:
            return False
        self._over = True
        return True

    def __repr__(self) -> str:
        return f"<job {', '.join(map(repr, self._f)) or 'that has begun'}>"
