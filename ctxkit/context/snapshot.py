"""Snapshots: what is known now, to be used later or elsewhere."""

from __future__ import annotations

import sys
from _thread import get_ident
from contextvars import Context, copy_context
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, final

from ctxkit.context._arrival import arrive, depart
from ctxkit.context.stepping import aiterate_in, iterate_in, run_coroutine_in
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

# inspect.CO_*; inspect itself would cost an import.
_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200


@final
class Snapshot:
    """Hold the context of the moment it was captured, and run code in copies of it.

    Made by :func:`capture`.

    Context:
        Everything is captured: frames, every ``ContextVar``, Django's language and time
        zone. Each run gets a copy of its own, so nothing that it sets is seen by the
        capturer, by another run, or by the next one. On another thread asgiref's values
        are moved to that thread, Sentry's scopes are forked, and decimal gets a context of
        its own.

    Safety:
        May be used by several threads at once, as often as you like. It keeps every value
        of the captured context alive as long as it lives itself.
    """

    __slots__ = ("_context", "_thread")

    def __init__(self, context: Context, thread: int) -> None:
        self._context = context
        self._thread = thread

    def run(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``f`` in a copy of the captured context and return what it returns.

        A coroutine or generator function returns at once, as ever; what it returns then
        runs in that copy, step by step.
        """
        if _carrier_class(f) is Carrier:
            return self.enter().run(f, *args, **kwargs)
        return self.wrap(f)(*args, **kwargs)

    def wrap(self, f: Callable[P, R]) -> Callable[P, R]:
        """Return ``f`` as a callable that runs in the captured context.

        Args:
            f: A ``def`` or ``async def`` function, a generator function of either kind, a
                bound method, a partial, a callable object.

        Returns:
            A callable of the same kind (``inspect`` says the same of it), equal to ``f``
            and with its name and attributes. If ``f`` was wrapped before, ``f``.
        """
        if isinstance(f, Carrier):
            return f
        return _carrier_class(f)(f, self)

    def enter(self) -> Context:
        """Return a copy of the captured context that is fit for this thread."""
        context = self._context.copy()
        if get_ident() != self._thread:
            context.run(depart)
            context.run(arrive)
        return context


def capture() -> Snapshot:
    """Capture the current context: everything that is visible here and now.

    Returns:
        A :class:`Snapshot` that does not change when the current context does.
    """
    return Snapshot(forked_context(), get_ident())


def forked_context() -> Context:
    """Return a copy of the current context whose Sentry scopes are its own."""
    context = copy_context()
    if "sentry_sdk" in sys.modules:
        context.run(depart)
    return context


class Errand(Generic[R]):
    """Run a callable once, in the context of the moment the errand was made.

    What a :class:`Snapshot` is for many runs: cheaper, and it lets go of the context and
    of the callable when it is done, so that nothing which keeps the errand (an idle
    worker, a finished thread) keeps a request alive.
    """

    __slots__ = ("_context", "_f", "_thread")

    def __init__(self, f: Callable[..., R]) -> None:
        self._f: Callable[..., R] | None = f
        self._context: Context | None = forked_context()
        self._thread = get_ident()

    def __call__(self, /, *args: Any, **kwargs: Any) -> R:
        """Run the errand."""
        # No local variable may hold the context: a traceback would keep it.
        return self._enter()(self._take(), *args, **kwargs)  # type: ignore[no-any-return]

    def _enter(self) -> Callable[..., Any]:
        context, self._context = self._context, None
        if context is None:
            raise RuntimeError("This errand was run before. It runs once.")
        if get_ident() != self._thread:
            context.run(arrive)
        return context.run

    def _take(self) -> Callable[..., R] | None:
        f, self._f = self._f, None
        return f

    def __reduce__(self) -> Any:
        raise ConfigurationError(
            "The executor",
            "runs jobs in another process or interpreter, where a context cannot follow",
            "Submit the plain function to it, and give what it needs as arguments.",
        )


class Carrier:
    """Stand for a callable and run it in a snapshot. Made by :meth:`Snapshot.wrap`."""

    __slots__ = ("__dict__", "__weakref__", "__wrapped__", "_snapshot")

    def __init__(self, f: Callable[..., Any], snapshot: Snapshot) -> None:
        self.__wrapped__: Callable[..., Any] = f
        self._snapshot = snapshot
        self.__module__ = getattr(f, "__module__", __name__)
        self.__doc__ = getattr(f, "__doc__", None)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call what is wrapped in a copy of the snapshot's context."""
        return self._snapshot.enter().run(self.__wrapped__, *args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        # __name__, __code__ (by which inspect tells the kind), marks of frameworks. But
        # whoever takes a bound method apart (Django's signals do) would lose the snapshot.
        if name in {"__self__", "__func__"}:
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    def __eq__(self, other: object) -> bool:
        # So that remove_done_callback(f) and atexit.unregister(f) find what was wrapped.
        if isinstance(other, Carrier):
            other = other.__wrapped__
        return bool(self.__wrapped__ == other)

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return f"<{self.__wrapped__!r} in a snapshot>"


class _CoroutineCarrier(Carrier):
    def __init__(self, f: Callable[..., Any], snapshot: Snapshot) -> None:
        super().__init__(f, snapshot)
        # An object with an async __call__ has no code of its own for inspect to look at.
        inspect: Any = sys.modules.get("inspect")
        asyncio: Any = sys.modules.get("asyncio.coroutines")
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)
        elif hasattr(asyncio, "_is_coroutine"):  # Python 3.11
            self._is_coroutine = asyncio._is_coroutine  # noqa: SLF001 - as asgiref marks

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        context = self._snapshot.enter()
        return run_coroutine_in(context, context.run(self.__wrapped__, *args, **kwargs))


class _GeneratorCarrier(Carrier):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        context = self._snapshot.enter()
        return iterate_in(context, context.run(self.__wrapped__, *args, **kwargs))


class _AsyncGeneratorCarrier(Carrier):
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        context = self._snapshot.enter()
        return aiterate_in(context, context.run(self.__wrapped__, *args, **kwargs))


def _carrier_class(f: Any) -> type[Carrier]:
    if isinstance(f, type):
        return Carrier
    while isinstance(f, (MethodType, partial)):
        f = f.__func__ if isinstance(f, MethodType) else f.func
    code = getattr(f, "__code__", None) or getattr(type(f).__call__, "__code__", None)
    flags: int = getattr(code, "co_flags", 0)
    if flags & _ASYNC_GENERATOR:
        return _AsyncGeneratorCarrier
    if flags & (_COROUTINE | _ITERABLE_COROUTINE) or _is_marked(f):
        return _CoroutineCarrier
    return _GeneratorCarrier if flags & _GENERATOR else Carrier


def _is_marked(f: object) -> bool:
    """Tell whether ``f`` is a plain function declared to return an awaitable."""
    # inspect.markcoroutinefunction sets the first, asgiref on Python 3.11 the second.
    marks = (getattr(f, "_is_coroutine_marker", None), getattr(f, "_is_coroutine", None))
    return marks != (None, None)
