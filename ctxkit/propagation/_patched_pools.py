"""Every job of a pool runs in the context of whoever submitted it; records know theirs. Private.

One function for each patch: given the original and the patch, it returns what takes the
original's place. Signatures stay what they were.
"""

from __future__ import annotations

from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ctxkit.context import capture
from ctxkit.context._children import NOTING, note
from ctxkit.context.errand import Errand, carried, forked_context, is_carried
from ctxkit.context.stepping import iterate_in
from ctxkit.propagation.parcels import is_elsewhere, parcelled
from ctxkit.propagation.records import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    from ctxkit.propagation._patching import Patch

    Function = Callable[..., Any]

#: What has its items already, and runs nobody's code to give them out.
_MADE: Final = frozenset((dict, frozenset, list, range, set, str, tuple))


def make_submit(original: Function, patch: Patch) -> Function:
    """Replace ``ThreadPoolExecutor.submit``."""

    def submit(self: Executor, fn: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not patch.active or is_carried(fn):
            return original(self, fn, *args, **kwargs)  # type: ignore[no-any-return]
        if is_elsewhere(self):
            return _submit_elsewhere(original, self, fn, *args, **kwargs)
        # In an empty context, since submit may start a worker, which keeps what it finds.
        future: Future[Any] = Context().run(original, self, *carried(fn, args, kwargs))
        if NOTING.on:
            note(future)
        return future

    return submit


def make_submit_to_process(original: Function, patch: Patch) -> Function:
    """Replace ``ProcessPoolExecutor.submit``."""

    def submit(self: Executor, fn: Function, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not patch.active:
            return original(self, fn, *args, **kwargs)  # type: ignore[no-any-return]
        return _submit_elsewhere(original, self, fn, *args, **kwargs)

    return submit


def _submit_elsewhere(
    original: Function, executor: Executor, fn: Function, /, *args: Any, **kwargs: Any
) -> Future[Any]:
    # In an empty context, which is what a worker that is forked here gets for life.
    future: Future[Any] = Context().run(original, executor, parcelled(fn), *args, **kwargs)
    if NOTING.on:
        note(future)
    return future


def make_map(original: Function, patch: Patch) -> Function:
    """Replace ``Executor.map`` where it submits some items later (Python 3.14)."""

    def map(  # noqa: A001 - it is called that
        self: Executor, fn: Function, *iterables: Iterable[Any], **options: Any
    ) -> Iterable[Any]:
        if patch.active and options.get("buffersize") is not None:
            # Whoever reads the results submits the rest.
            fn = parcelled(fn) if is_elsewhere(self) else capture().wrap(fn)
        return original(self, fn, *iterables, **options)  # type: ignore[no-any-return]

    return map


def make_add_done_callback(original: Function, patch: Patch) -> Function:
    """Replace ``concurrent.futures.Future.add_done_callback``."""

    def add_done_callback(self: Future[Any], fn: Function) -> None:
        # A future calls each of them once, and keeps them for its life.
        original(self, Errand(fn) if patch.active else fn)

    return add_done_callback


def make_apply_async(original: Function, patch: Patch) -> Function:
    """Replace ``multiprocessing.pool.ThreadPool.apply_async``, by which ``apply`` goes."""

    def apply_async(  # noqa: PLR0913, PLR0917 - as many as there
        self: Any,
        func: Function,
        args: Any = (),
        kwds: Any = {},  # noqa: B006 - as it is there
        callback: Function | None = None,
        error_callback: Function | None = None,
    ) -> Any:
        if not patch.active:
            return original(self, func, args, kwds, callback, error_callback)
        done, failed = _ends(callback, error_callback)
        return _noted(original(self, Errand(func, sent=True), args, kwds, done, failed))

    return apply_async


def make_map_async(original: Function, patch: Patch) -> Function:
    """Replace ``map_async`` and ``starmap_async`` of ``multiprocessing.pool.ThreadPool``."""

    def map_async(  # noqa: PLR0913, PLR0917 - as many as there
        self: Any,
        func: Function,
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Function | None = None,
        error_callback: Function | None = None,
    ) -> Any:
        if not patch.active:
            return original(self, func, iterable, chunksize, callback, error_callback)
        done, failed = _ends(callback, error_callback)
        return _noted(original(self, capture().wrap(func), iterable, chunksize, done, failed))

    return map_async


def make_map_now(original: Function, patch: Patch) -> Function:
    """Replace ``map`` and ``starmap`` of ``multiprocessing.pool.ThreadPool``."""

    def map_now(
        self: Any, func: Function, iterable: Iterable[Any], chunksize: int | None = None
    ) -> Any:
        job = capture().wrap(func) if patch.active else func
        return original(self, job, iterable, chunksize)

    return map_now


def make_imap(original: Function, patch: Patch) -> Function:
    """Replace ``imap`` and ``imap_unordered`` of ``multiprocessing.pool.ThreadPool``."""

    def imap(self: Any, func: Function, iterable: Iterable[Any], chunksize: int = 1) -> Any:
        if not patch.active:
            return original(self, func, iterable, chunksize)
        # A thread of the pool takes the items out of an iterator.
        if type(iterable) not in _MADE:
            iterable = iterate_in(forked_context(), _each(iterable))
        return original(self, capture().wrap(func), iterable, chunksize)

    return imap


def make_to_thread(original: Function, patch: Patch) -> Function:
    """Replace ``asyncio.to_thread``."""

    async def to_thread(func: Function, /, *args: Any, **kwargs: Any) -> Any:
        if not patch.active:
            return await original(func, *args, **kwargs)
        from ctxkit.propagation import tasks  # noqa: PLC0415 - asyncio is there, as we see

        # Not **kwargs: ours has a writeback= of its own, and shelve.open() has another.
        return await tasks.to_thread(partial(func, *args, **kwargs))

    return to_thread


def make_make_record(original: Function, patch: Patch) -> Function:
    """Replace ``logging.Logger.makeRecord``."""

    def makeRecord(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - as it is called
        record = original(self, *args, **kwargs)
        if patch.active:
            stamp(record)
        return record

    return makeRecord


def _each(iterable: Iterable[Any]) -> Iterator[Any]:
    yield from iterable


def _noted(result: Any) -> Any:
    if NOTING.on:
        note(result)
    return result


def _ends(*callbacks: Function | None) -> Sequence[Function | None]:
    """Return what calls one of ``callbacks`` in the current context, and then lets go of all."""
    if not any(callbacks):
        return callbacks
    # Whoever keeps a result keeps them with it, and one is never called.
    errands = [callback and Errand(callback) for callback in callbacks]

    def end(which: int, result: object) -> None:
        errand = errands[which]
        errands.clear()
        if errand:
            errand(result)

    return [partial(end, which) for which in range(len(callbacks))]
