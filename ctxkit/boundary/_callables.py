"""What kind of function a decorator was put on. Private."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

from ctxkit.exceptions import ConfigurationError

# Code flags of the data model; the module inspect, which names them, is not worth its import.
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ASYNC_GENERATOR: Final = 0x200


def is_coroutine_function(decorator: str, function: Any) -> bool:
    """Return whether a call of ``function`` has to be awaited.

    Args:
        decorator: What the user has put on it, for the error.
        function: What it was put on.

    Raises:
        ConfigurationError: It is a class, a generator function or not callable.
    """
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(
            decorator,
            f"got {function!r}, which is a class or cannot be called",
            "Put it on the method that does the work.",
        )
    flags = _code_flags(function)
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise ConfigurationError(
            decorator,
            f"got {function!r}, a generator function, which returns before its body has run",
            "Put it on what consumes the generator, or use the middleware.",
        )
    return bool(flags & _COROUTINE)


def is_native_coroutine_function(function: Any) -> bool:
    """Return whether a call of ``function`` makes a coroutine of Python, and runs nothing yet."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & _COROUTINE)


def is_generator_function(function: Any) -> bool:
    """Return whether a call of ``function`` makes a generator."""
    return callable(function) and bool(_code_flags(function) & _GENERATOR)


def _code_flags(function: Any) -> int:
    """Return what kind of function a call would run, as the flags of its code."""
    while isinstance(function, partial):
        function = function.func
    # inspect.markcoroutinefunction() marks so, and asgiref's before Python 3.12.
    if not {"_is_coroutine_marker", "_is_coroutine"}.isdisjoint(getattr(function, "__dict__", ())):
        return _COROUTINE
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return 0 if code is None else cast("int", code.co_flags)
