"""Handlers that are coroutine functions, for a runtime that knows none."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from contextvars import copy_context
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# OpenTelemetry's layer puts its own name into the second, and the function's into the first.
_VARIABLES: Final = ("ORIG_HANDLER", "_HANDLER")

_runner: asyncio.Runner | None = None
_pid = 0


def as_handler(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Return a function that runs the coroutine itself where it is Lambda that calls it.

    That is so if it is, or is wrapped in, what Lambda is configured to call, and no event loop
    runs in the thread. Everybody else gets a coroutine, as from ``function``.

    Safety:
        One event loop for all invocations, so that what lives in it (clients, pools) may be
        used again: what a coroutine leaves behind stands still with it in between.
    """
    called: bool | None = None

    def handler(*args: Any, **kwargs: Any) -> Any:
        nonlocal called
        coroutine = function(*args, **kwargs)
        if called is None:
            called = _is_configured(handler)
        # What get_running_loop() asks, and raises for.
        if called and asyncio._get_running_loop() is None:  # noqa: SLF001
            return _run(coroutine)
        return coroutine

    update_wrapper(handler, function)
    mark = getattr(inspect, "markcoroutinefunction", None)  # Python 3.12
    return handler if mark is None else mark(handler)


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    global _runner, _pid
    if _runner is None or os.getpid() != _pid:
        _runner, _pid = asyncio.Runner(), os.getpid()
    return _runner.run(coroutine, context=copy_context())


def _is_configured(handler: Any) -> bool:
    """Return whether Lambda is configured to call ``handler``, or something around it."""
    for variable in _VARIABLES:
        module, _, name = os.environ.get(variable, "").replace("/", ".").rpartition(".")
        found = getattr(sys.modules.get(module), name, None)
        while found is not None:
            if found is handler:
                return True
            found = getattr(found, "__wrapped__", None)
    return False
