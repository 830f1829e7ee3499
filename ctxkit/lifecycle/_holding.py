"""One resource that is held open: how it ends, and whose it is. Private."""

from __future__ import annotations

import os
from contextlib import suppress
from contextvars import Context
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

# Code flags of the data model; the module inspect, which names them, is not worth its import.
GENERATOR: Final = 0x20
COROUTINE: Final = 0x80
ASYNC_GENERATOR: Final = 0x200


def code_flags(function: Any) -> int:
    """Return what kind of function a call would run, as the flags of its code."""
    while isinstance(function, partial):
        function = function.func
    if not hasattr(function, "__code__") and not isinstance(function, type):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return 0 if code is None else cast("int", code.co_flags)


def needs_arguments(function: Any) -> bool:
    """Return whether a plain function cannot be called without arguments."""
    if not isinstance(function, FunctionType):
        return False
    code = function.__code__
    required = code.co_argcount - len(function.__defaults__ or ())
    return required + code.co_kwonlyargcount - len(function.__kwdefaults__ or {}) > 0


@final
class Terms(Generic[T]):
    """Hold what was agreed on for a resource.

    Attributes:
        name: What errors and the log call it.
        factory: Makes it: returns it, or yields it once.
        check: Says whether it is still good; None if nobody can.
        close: Ends it; None where its own end is enough.
        after: The seconds of a freeze after which it is doubted.
        flags: What kind of function ``factory`` is.
    """

    __slots__ = ("after", "check", "close", "factory", "flags", "name")

    after: float
    check: Callable[[T], Any] | None
    close: Callable[[T], Any] | None
    factory: Callable[[], Any]
    flags: int
    name: str

    def __init__(
        self,
        factory: Callable[[], Any],
        check: Callable[[T], Any] | None,
        close: Callable[[T], Any] | None,
        after: float,
    ) -> None:
        self.factory = factory
        self.check = check
        self.close = close
        self.after = after
        self.flags = code_flags(factory)
        self.name = getattr(factory, "__qualname__", None) or repr(factory)

    def yields_nothing(self) -> ConfigurationError:
        """Return the error for a generator that ends without a resource."""
        return ConfigurationError(
            f"warm({self.name})", "has yielded nothing", "Yield the resource, once."
        )

    def yields_again(self) -> ConfigurationError:
        """Return the error for a generator that goes on after its resource."""
        return ConfigurationError(
            f"warm({self.name})", "has yielded a second time", "Yield the resource, once."
        )

    def needs_itself(self) -> ConfigurationError:
        """Return the error for a factory that asks for what it is making."""
        return ConfigurationError(
            f"warm({self.name})",
            "asks for itself while it is being created",
            "Have it made of something else.",
        )


@final
class Held(Generic[T]):
    """Hold one resource of this process.

    It is made, checked and closed in one context of its own: whatever it starts must not
    keep the request that happened to need it first.

    Attributes:
        value: The resource.
        pid: The process that made it.
        sound: Whether nothing has happened since that would have it checked.
    """

    __slots__ = ("_context", "_generator", "_terms", "pid", "sound", "value")

    def __init__(self, terms: Terms[T]) -> None:
        self._terms = terms
        self._context = Context()
        self._generator: Generator[T, None, None] | None = None
        self.pid = os.getpid()
        self.sound = True
        self.value: T = self._context.run(self._make)

    def passes(self) -> bool:
        """Ask whether it is still good, if there is somebody to ask."""
        check = self._terms.check
        if check is not None:
            try:
                self.sound = self._context.run(check, self.value) is not False
            except Exception:  # noqa: BLE001 - how most clients say that they are not
                return False
        else:
            self.sound = True
        return self.sound

    def end(self) -> None:
        """Close it, if it is ours; what that raises is logged."""
        if self.pid != os.getpid():
            disown(self)
            return
        try:
            self._context.run(self._close)
        except Exception:
            import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

            logging.getLogger("ctxkit").exception("ctxkit.warm.failed: %s", self._terms.name)

    def _make(self) -> T:
        terms = self._terms
        made = terms.factory()
        if not terms.flags & GENERATOR:
            return cast("T", made)
        self._generator = made
        try:
            return cast("T", next(made))
        except StopIteration:
            raise terms.yields_nothing() from None

    def _close(self) -> None:
        if self._generator is not None:
            try:
                next(self._generator)
            except StopIteration:
                return
            self._generator.close()
            raise self._terms.yields_again()
        if self._terms.close is not None:
            self._terms.close(self.value)


_disowned: list[object] = []


def disown(thing: object) -> None:
    """Keep what belongs to the parent process, for ever.

    Its destructor would say goodbye on the socket that the parent goes on using, or run the
    rest of a generator. At its end the interpreter lets go of every module, so a list is not
    enough.
    """
    _disowned.append(thing)
    with suppress(ImportError, AttributeError):  # not CPython
        from ctypes import py_object, pythonapi  # noqa: PLC0415 - only in forked children

        pythonapi.Py_IncRef(py_object(thing))
