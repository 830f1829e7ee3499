"""A pool as the default executor of an event loop. Private."""

from __future__ import annotations

from asyncio import get_running_loop
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextvars import Context
from typing import TYPE_CHECKING, Any, final

from ctxkit.exceptions import ConfigurationError, PoolClosed

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from ctxkit.functions.pools.pool import Pool


def set_on(loop: AbstractEventLoop | None, pool: Pool) -> None:
    """Make ``pool`` the default executor of ``loop``, or of the one that runs.

    Raises:
        ConfigurationError: The pool is inline.
    """
    if pool.kind == "inline":
        raise ConfigurationError(
            "Pool.as_default_executor()",
            "got an inline pool, whose jobs would block the event loop",
            "Take a static, a lazy or an adaptive one.",
        )
    (loop or get_running_loop()).set_default_executor(_Tenant(pool, pool.stats().limit or 1))


@final
class _Tenant(ThreadPoolExecutor):
    """Stand for a pool at one event loop, which ends it at its own end.

    A loop takes nothing but this class. It makes no threads.
    """

    _ctxkit_carries = True

    def __init__(self, pool: Pool, limit: int) -> None:
        super().__init__(limit)
        self._pool = pool
        self._futures: set[Future[Any]] = set()
        self._ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._ended:
            raise PoolClosed(repr(self._pool))
        future = self._pool.submit(fn, *args, **kwargs)
        self._futures.add(future)
        # In an empty context: install() has callbacks keep the one they are added in.
        Context().run(future.add_done_callback, self._futures.discard)
        return future

    map = Executor.map

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the executor's
        self._ended = True
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        while wait and self._futures:
            _wait(list(self._futures))


_wait = wait  # shutdown() has an argument of this name
