"""Tasks and threads of an event loop, with the context of whoever asked for them."""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ctxkit.context.errand import Errand, forked_context
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Executor

P = ParamSpec("P")
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
    if context is not None:
        return asyncio.create_task(coro, context=context, **options)
    # Not context=: some task factories do not take it.
    start: Callable[..., Any] = asyncio.create_task
    task: asyncio.Task[T] = forked_context().run(start, coro, **options)
    return task


def to_thread(f: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
    """Run ``f(*args, **kwargs)`` in the loop's thread pool; await the result.

    Takes the place of :func:`asyncio.to_thread`, which loses Django's language and time
    zone, and lets the thread write to the Sentry scope of its parent.

    Context:
        Captured at the call, not when it is awaited. What ``f`` sets stays in its thread.
    """
    return _in_default_pool(partial(Errand(f), *args, **kwargs))


async def _in_default_pool(job: Callable[[], T]) -> T:
    return await _hand_over(None, job)


def run_in_executor(
    executor: Executor | None, f: Callable[..., T], *args: Any
) -> asyncio.Future[T]:
    """Run ``f(*args)`` in ``executor``; await the future that is returned.

    Takes the place of ``loop.run_in_executor``, which carries no context at all.

    Args:
        executor: A pool of threads, or None for the loop's own.
        f: What to run.
        args: Its arguments.

    Raises:
        ConfigurationError: ``executor`` runs its jobs in another process or interpreter. A
            context cannot follow there.

    Context:
        Captured at the call. What ``f`` sets stays in its thread.
    """
    _check_same_process(executor)
    return _hand_over(executor, Errand(f), *args)


def _hand_over(executor: Executor | None, job: Callable[..., T], *args: Any) -> asyncio.Future[T]:
    # In an empty context: the pool may start a worker, see pools.py.
    loop = asyncio.get_running_loop()
    return Context().run(loop.run_in_executor, executor, job, *args)


def _check_same_process(executor: object) -> None:
    # Only modules that are loaded can have made the executor.
    for module, name in (
        ("concurrent.futures.process", "ProcessPoolExecutor"),
        ("concurrent.futures.interpreter", "InterpreterPoolExecutor"),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(executor, kind):
            raise ConfigurationError(
                "run_in_executor",
                f"was given a {name}, whose jobs run where a context cannot follow",
                "Call loop.run_in_executor(executor, f, ...) itself, and give f what it needs "
                "as arguments.",
            )
