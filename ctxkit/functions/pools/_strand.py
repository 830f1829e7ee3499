"""Calls that have to run on one and the same thread. Private."""

from __future__ import annotations

from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from contextvars import Context
from queue import Empty, SimpleQueue
from threading import RLock
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
        self._lock = RLock()  # what is done already is told to who adds a callback
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
                if self._job.cancelled():  # meanwhile, with the pool
                    raise PoolClosed(repr(self))
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
        if wait:
            _wait((job,))

    def _look(self, _: object) -> None:
        """Leave the queue of the pool, if nobody waits for anything any more."""
        if self._ended and self._job and all(each.cancelled() for each in self._early):
            self._job.cancel()  # it does not even begin, if it has not

    def _abandon(self, job: Future[Any]) -> None:
        error = None if job.cancelled() else job.exception()
        if job.cancelled() or error is not None:  # it never got a thread
            with self._lock:
                self._ended = True
            self._drain(error)

    def _drain(self, error: BaseException | None = None) -> None:
        with suppress(Empty):  # not asked before: the thread takes out of it, too
            while True:
                item = self._inbox.get_nowait()
                if item is None:
                    continue
                if error is None:
                    item.future.cancel()
                if item.future.set_running_or_notify_cancel():
                    item.future.set_exception(error)


_wait = wait  # shutdown() has an argument of this name


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
