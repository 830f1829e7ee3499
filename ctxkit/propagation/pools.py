"""Pools whose jobs run in the context of whoever submits them."""

from __future__ import annotations

from concurrent import futures
from contextvars import Context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ctxkit.context import capture
from ctxkit.context._children import NOTING, note
from ctxkit.context.errand import carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPoolExecutor(futures.ThreadPoolExecutor):
    """Run each job in a copy of the context in which it was submitted.

    Takes the place of :class:`concurrent.futures.ThreadPoolExecutor`.

    Context:
        Captured at :meth:`submit`, and once for all items at :meth:`map`. What a job sets
        is seen neither by the submitter nor by the next job on the same worker. The
        workers themselves start with an empty context, whoever makes the pool grow, so
        what an ``initializer`` sets in a ``ContextVar`` is not seen by the jobs.

    Safety:
        A job's context is released when the job is done; an idle worker keeps nothing.
    """

    _ctxkit_carries = True

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[T]:
        """Schedule ``fn(*args, **kwargs)`` in the current context."""
        # In an empty context, since submit may start a worker, and what starts a thread is
        # kept by it for its life: by -X thread_inherit_context, by OpenTelemetry, by Sentry.
        submit: Callable[..., Any] = super().submit
        future: futures.Future[T] = Context().run(submit, *carried(fn, args, kwargs))
        if NOTING.on:
            note(future)
        return future

    def map(self, fn: Callable[..., T], *iterables: Iterable[Any], **options: Any) -> Iterator[T]:
        """Schedule ``fn`` for the items of ``iterables`` in the current context."""
        # With buffersize= (Python 3.14) the rest is submitted by whoever reads the results.
        return super().map(capture().wrap(fn), *iterables, **options)


def carries(executor: object) -> bool:
    """Return whether ``executor`` carries contexts, or what it can of them, by itself."""
    return getattr(type(executor), "_ctxkit_carries", False)
