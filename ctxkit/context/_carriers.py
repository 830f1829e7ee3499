"""What stands for a callable and runs it in a snapshot. Private."""

from __future__ import annotations

import sys
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any

from ctxkit.context.stepping import aiterate_in, iterate_in, run_coroutine_in
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.context.snapshot import Snapshot

# inspect.CO_*; inspect itself would cost an import.
_GENERATOR, _COROUTINE, _ITERABLE_COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200


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
        try:
            return self._snapshot.enter().run(self.__wrapped__, *args, **kwargs)
        finally:
            del self  # a traceback would keep the snapshot

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

    def __copy__(self) -> Carrier:
        return self  # as with functions

    def __deepcopy__(self, _: object) -> Carrier:
        return self

    def __reduce__(self) -> Any:
        raise ConfigurationError(
            repr(self.__wrapped__),
            "is in a snapshot, and a context cannot leave its process or interpreter",
            "Send the plain function: ctxkit.ProcessPoolExecutor sends what keys declare with it.",
        )

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


def carrier_class(f: Any) -> type[Carrier]:
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
