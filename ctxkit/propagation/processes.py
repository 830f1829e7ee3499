"""Pools of processes and interpreters, whose jobs get what keys declare. Apart: they are heavy."""

from __future__ import annotations

import sys
from concurrent import futures
from contextvars import Context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ctxkit.context._children import NOTING, note
from ctxkit.exceptions import ConfigurationError
from ctxkit.propagation.parcels import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


class _Parcelling(futures.Executor):
    """Send each job to the pool that comes after this in the classes, as a parcel."""

    _ctxkit_carries = True

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Schedule ``fn(*args, **kwargs)`` with the declared values."""
        submit: Callable[..., Any] = super().submit
        # In an empty context: a worker that is forked here would keep it.
        future: futures.Future[T] = Context().run(submit, Parcel(fn), *args, **kwargs)
        if NOTING.on:
            note(future)
        return future

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
        """Schedule ``fn`` for the items of ``iterables`` with the values of this moment."""
        # With buffersize= (Python 3.14) the rest is submitted by whoever reads the results.
        job = fn if options.get("buffersize") is None else Parcel(fn)
        return super().map(job, *iterables, **options)


class ProcessPoolExecutor(_Parcelling, futures.ProcessPoolExecutor):
    """Run each job with the values of the keys that go to processes.

    Takes the place of :class:`concurrent.futures.ProcessPoolExecutor`. A context cannot
    leave its process; values can, of the keys that say so::

        TENANT = ctxkit.Key[str]("tenant", hops={"thread", "process"})

    Context:
        The values are taken at :meth:`submit` or :meth:`map`, and written down there: by the key's
        ``dump``, or pickled. Each job runs in an empty context with these and nothing else,
        whatever the worker was forked from and whatever the job before has set.

    Raises:
        ConfigurationError: By :meth:`submit`: a value cannot be written down. As the job's
            error: the worker does not know the key that should read it.

    Safety:
        Values are pickled only between this process and its own workers.
    """


if sys.version_info >= (3, 14):

    class InterpreterPoolExecutor(_Parcelling, futures.InterpreterPoolExecutor):
        """Run each job in an interpreter of its own, with the values of keys that go there.

        Takes the place of :class:`concurrent.futures.InterpreterPoolExecutor` (Python 3.14).
        Another interpreter is to a context what another process is: see
        :class:`ProcessPoolExecutor`.
        """

else:

    class InterpreterPoolExecutor:
        """Stand for the pool of interpreters where Python has none.

        Raises:
            ConfigurationError: Always: it came with Python 3.14.
        """

        def __init__(self, *_: object, **__: object) -> None:
            raise ConfigurationError(
                "InterpreterPoolExecutor",
                "needs Python 3.14 or later",
                "Use ctxkit.ProcessPoolExecutor.",
            )
