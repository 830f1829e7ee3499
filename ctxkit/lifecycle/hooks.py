"""What people want done when the process begins to serve, thaws, is cloned, or ends."""

from __future__ import annotations

import atexit
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle._occasions import (
    INIT,
    RESET,
    RESTORE,
    SHUTDOWN,
    SNAPSHOT,
    THAW,
    Hook,
    checked_seconds,
)
from ctxkit.lifecycle.phases import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

# The process that multiprocessing ends with our help.
_finalized = 0


def on_init(function: Callable[[], R], /) -> Hook[[], R]:
    """Call ``function`` once in each process that serves, before its first request.

    For what should be ready then: a warm resource, a table that is read once. It is called
    when the server's lifespan starts, under awslambdaric at the end of the initialisation
    (with SnapStart, of each restore), and without either at the first request; at once if
    that has been. A process that only forks the ones that serve does not call it, and each of
    its children does.

    Args:
        function: Called without arguments. First registered, first called. The first
            request waits for it, and in a coroutine's thread so does the event loop.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: It is a coroutine function or no function.

    Safety:
        An exception is logged as ``ctxkit.init.failed``; the others run.
    """
    known = INIT.hooks
    hook = INIT.add(function)
    if ENVIRONMENT.initialised and hook not in known:
        INIT.run_some((hook,))
    return hook


def run_init() -> None:
    """Call everything registered with :func:`on_init`, unless this process has done so.

    Boundaries call it before their first request. Call it where your process is ready to
    serve and no client waits yet.
    """
    ENVIRONMENT.initialise()


@overload
def on_thaw(function: Callable[[float], R], /) -> Hook[[float], R]: ...
@overload
def on_thaw(*, after: float) -> Callable[[Callable[[float], R]], Hook[[float], R]]: ...
def on_thaw(function: Any = None, /, *, after: float = 1.0) -> Any:
    """Call ``function`` when a request finds that the process had stood still.

    For what does not survive that: a connection that the other end has closed, a lease, a
    clock that was read::

        @ctxkit.on_thaw(after=30)
        def forget_prices(gap):
            prices.clear()

    Args:
        function: Given the seconds that the process stood still. First registered, first
            called. Called before the request that comes first afterwards, in its thread, so
            it has to be quick.
        after: Only if it were at least as many seconds.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: ``function`` is a coroutine function or no function, or
            ``after`` is no number of seconds.

    Safety:
        An exception is logged as ``ctxkit.thaw.failed``, and neither the other hooks nor
        the request are disturbed.
    """
    after = checked_seconds("on_thaw(after=)", after)
    if function is None:
        return partial(THAW.add, after=after)
    return THAW.add(function, after)


def before_snapshot(function: Callable[[], R], /) -> Hook[[], R]:
    """Call ``function`` before the host takes the snapshot that it will start clones from.

    For what no two clones may share: connections, ids, secrets with an end. Last registered,
    first called. On Lambda with SnapStart, once ctxkit is connected to its hooks.

    Args:
        function: Called without arguments.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: It is a coroutine function or no function.

    Safety:
        An exception is logged as ``ctxkit.before_snapshot.failed``; the others run.
    """
    return SNAPSHOT.add(function)


def after_restore(function: Callable[[], R], /) -> Hook[[], R]:
    """Call ``function`` in each clone that was started from a snapshot, before its first request.

    First registered, first called, after ctxkit's own: :mod:`random` is seeded anew then.

    Args:
        function: Called without arguments. Lambda allows ten seconds for everything.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: It is a coroutine function or no function.

    Safety:
        An exception is logged as ``ctxkit.after_restore.failed``; the others run.
    """
    return RESTORE.add(function)


def on_reset(function: Callable[[], R], /) -> Hook[[], R]:
    """Call ``function`` at the end of each invocation, to forget what a module has kept of it.

    For state that is the process's and should be the request's: a cache in a module, the
    bound values of a logging package in a ``threading.local``::

        rates = {}
        ctxkit.on_reset(rates.clear)

    It runs at the end and not at the next beginning, so that nothing of a request is in
    memory while the process is frozen, cloned or dumped, and so that no client waits for it.
    It runs when the application has returned, with its body closed, and before the flush.

    Args:
        function: Called without arguments, in the thread that ends the request, outside of
            the request's context. First registered, first called. Where one process serves
            several requests at once it runs at the end of each, while the others go on: for
            such state use :class:`ctxkit.Local` or a frame.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: It is a coroutine function, no function, or a cached function,
            which would be called and not cleared.

    Safety:
        An exception is logged as ``ctxkit.reset.failed``; the others run.
    """
    if hasattr(function, "cache_clear"):
        raise ConfigurationError(
            "on_reset()", f"got {function!r}, which has a cache", "Give it its .cache_clear."
        )
    return RESET.add(function)


def on_shutdown(function: Callable[[], R], /) -> Hook[[], R]:
    """Call ``function`` when the process, or the server's lifespan, ends.

    Args:
        function: Called without arguments, last registered first. It may be called more
            than once (at the end of the lifespan, then at the interpreter's exit), so it
            has to be cheap when there is nothing to do. It must not rely on new threads:
            CPython 3.12 refuses them at exit.

    Returns:
        A :class:`Hook`: calls the function, and has ``remove()``.

    Raises:
        ConfigurationError: It is a coroutine function or no function.

    Safety:
        An exception is logged as ``ctxkit.shutdown.failed``; the others run.
    """
    if not SHUTDOWN.hooks:
        atexit.unregister(run_shutdown)
        atexit.register(run_shutdown)
    if sys.version_info < (3, 13):
        _end_with_multiprocessing()
    return SHUTDOWN.add(function)


def _end_with_multiprocessing() -> None:
    """Have the end of a process that multiprocessing has forked noticed: it runs no atexit.

    https://github.com/python/cpython/issues/83856
    """
    global _finalized  # noqa: PLW0603 - one per process
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return
    if _finalized != os.getpid():
        _finalized = os.getpid()
        util.Finalize(None, run_shutdown, exitpriority=0)


def run_shutdown() -> None:
    """Call everything registered with :func:`on_shutdown`, last registered first.

    Runs by itself at the interpreter's exit. Servers that end without it (uvicorn re-raises
    SIGTERM with its default action) are covered by calling this from ``lifespan.shutdown``.

    Safety:
        Every callback runs, whatever the others do. An ``Exception`` is logged, anything
        else is passed on when all have run.
    """
    ENVIRONMENT.shut_down()
    SHUTDOWN.run()


def run_before_snapshot() -> None:
    """Call everything registered with :func:`before_snapshot`, last registered first.

    To be called by whatever knows that the host is going to take a snapshot.

    Safety:
        As :func:`run_shutdown`.
    """
    SNAPSHOT.run()


def run_after_restore() -> None:
    """Begin anew in a clone, and call everything registered with :func:`after_restore`.

    To be called in each clone before its first request. The module :mod:`random` is seeded
    anew, or all clones would draw the same numbers (OpenTelemetry makes its ids of them);
    the environment gets a new id and is cold again.

    Safety:
        As :func:`run_shutdown`.
    """
    # Imported later, it seeds itself.
    if "random" in sys.modules:
        sys.modules["random"].seed()
    ENVIRONMENT.restore()
    RESTORE.run()
