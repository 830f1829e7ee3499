"""Errands: work that is carried to another thread, once."""

from __future__ import annotations

import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from ctxkit.context._arrival import arrive, depart, is_bare
from ctxkit.context._here import here
from ctxkit.context._hops import HELD_UP
from ctxkit.context._sifting import copy_values
from ctxkit.context.accessors import Furnished, any_registered, held
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

R = TypeVar("R")


def forked_context() -> Context:
    """Return a copy of the current context that shares nothing changeable with it."""
    return forked(copy_context())


def forked(context: Context) -> Context:
    """Return ``context``, a copy, when it shares nothing changeable with the one it is of.

    Sentry's scopes are forked, and what keys declare a ``copy`` for is copied.
    """
    if "sentry_sdk" in sys.modules:
        context.run(depart)
    if HELD_UP:
        context.run(copy_values)
    return context


def carried(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], Any]:
    """Return what runs ``f`` in the current context on a pool's thread, and its one argument.

    What an :class:`Errand` is for any holder, at half the price for one that lets go of its
    jobs by itself, and never runs them on this thread.
    """
    if any_registered():
        return _called, [kwargs, args, Errand(f, sent=True)]
    if is_bare():
        return _enter_bare, [kwargs, args, f, copy_context().run]
    return _enter, [kwargs, args, f, forked_context().run]


def is_carried(job: object) -> bool:
    """Return whether ``job`` brings its context along."""
    return job is _enter or job is _enter_bare or job is _called or isinstance(job, Errand)


def carried_in(job: object, argument: object) -> object:
    """Return the callable that a job of :func:`carried` is about to run, or ``job`` itself."""
    if job in (_called, _enter, _enter_bare) and isinstance(argument, list) and argument:
        return cast("list[object]", argument)[2]
    return job


# No local variable may hold any of it, or a traceback would keep it: from Python 3.14 on a pool
# keeps the callable and its arguments in one, so these are emptied as they are used.


def _called(job: list[Any]) -> Any:
    return job.pop()(*job.pop(), **job.pop())


def _enter_bare(job: list[Any]) -> Any:
    return job.pop()(job.pop(), *job.pop(), **job.pop())


def _enter(job: list[Any]) -> Any:
    return job.pop()(_arrived, job)


def _arrived(job: list[Any]) -> Any:
    arrive()
    return _called(job)


class Errand(Generic[R]):
    """Run a callable once, in the context of the moment the errand was made.

    What a :class:`Snapshot` is for many runs: cheaper, and it lets go of the context and
    of the callable when it is done, so that nothing which keeps the errand (an idle
    worker, a finished thread) keeps a request alive.

    Args:
        f: What to run.
        sent: Whether it arrives as on another thread, also where a pool runs it on this one.
    """

    __slots__ = ("_context", "_f", "_held", "_home")

    def __init__(self, f: Callable[..., R], *, sent: bool = False) -> None:
        self._f: Callable[..., R] | None = f
        self._context: Context | None = forked_context()
        self._held = held() if any_registered() else None
        self._home = None if sent else here()

    def __call__(self, /, *args: Any, **kwargs: Any) -> R:
        """Run the errand."""
        # No local variable may hold the context: a traceback would keep it.
        return self._enter()(self._take(), *args, **kwargs)  # type: ignore[no-any-return]

    def _enter(self) -> Callable[..., Any]:
        context, self._context = self._context, None
        if context is None:
            raise RuntimeError("This errand was run before. It runs once.")
        if here() is not self._home:
            context.run(arrive)
        values, self._held = self._held, None
        return context.run if values is None else Furnished(context, values).run

    def _take(self) -> Callable[..., R] | None:
        f, self._f = self._f, None
        return f

    def __reduce__(self) -> Any:
        raise ConfigurationError(
            "The executor",
            "runs jobs in another process or interpreter, where a context cannot follow",
            "Use ctxkit.ProcessPoolExecutor, or submit the plain function to it and give what "
            "it needs as arguments.",
        )
