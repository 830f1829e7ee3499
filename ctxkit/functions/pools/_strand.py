"""Calls that have to run on one and the same thread. Private."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from contextvars import Context
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, final

from ctxkit.exceptions import ConfigurationError, PoolClosed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.functions.pools.pool import Pool


class _Item(NamedTuple):
    future: Future[Any]
    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@final
class Strand(Executor):
    """Run what is submitted on one thread of a pool, one after the other.

    From its first call to its end it takes a place in the pool, and that thread. Whoever submits
    carries its context itself.

    Args:
        pool: The pool. An inline one has no threads.

    Raises:
        ConfigurationError: The pool is inline.
    """

    def __init__(self, pool: Pool) -> None:
        if pool.kind == "inline":
            raise ConfigurationError(
                "The pool", "is inline, and has no threads", "Take a static or a lazy one."
            )
        self._pool = pool
        self._inbox: SimpleQueue[_Item | None] = SimpleQueue()
        self._lock = Lock()
        self._job: Future[Any] | None = None
        self._ended = False
        # What was submitted before there was a thread.
        self._early: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule ``fn(*args, **kwargs)``.

        Raises:
            PoolFull: It is the first call, and the pool has no room to wait.
            PoolClosed: The pool was closed before the first call, or the strand was.
        """
        with self._lock:
            if self._ended:
                raise PoolClosed(repr(self))
            if self._job is None:
                # In an empty context: it is nobody's leftover, and holds nothing of a request.
                self._job = Context().run(self._pool.submit, _serve, self._inbox)
                Context().run(self._job.add_done_callback, self._abandon)
            item = _Item(Future(), fn, args, kwargs)
            early = not self._job.running()
            if early:
                self._early.append(item.future)
            self._inbox.put(item)
        if early:
            Context().run(item.future.add_done_callback, self._look)
        return item.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the executor's
        """Give the thread back, when it has done what was submitted.

        Args:
            wait: Whether to wait for that.
            cancel_futures: Whether to cancel what has not begun.
        """
        with self._lock:
            self._ended = True
            job = self._job
        if job is None:
            return
        if cancel_futures:
            self._drain()
        self._inbox.put(None)
        self._look(None)
        if wait and not job.cancelled():
            job.exception()

    def _look(self, _: object) -> None:
        """Leave the queue of the pool, if nobody waits for anything any more."""
        if self._ended and self._job and all(each.cancelled() for each in self._early):
            self._job.cancel()  # it does not even begin, if it has not

    def _abandon(self, job: Future[Any]) -> None:
        if job.cancelled():  # it never got a thread
            with self._lock:
                self._ended = True
            self._drain()

    def _drain(self) -> None:
        while not self._inbox.empty():
            item = self._inbox.get()
            if item is not None and item.future.cancel():
                item.future.set_running_or_notify_cancel()


def _serve(inbox: SimpleQueue[_Item | None]) -> None:
    while (item := inbox.get()) is not None:
        _run(*item)
        del item  # nothing of a request may be kept while it waits


def _run(
    future: Future[Any], f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = f(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - it is whoever waits that gets it
        future.set_exception(error)
    else:
        future.set_result(result)
    del future, f, args, kwargs  # a traceback keeps this frame
