"""Waiting in a coroutine. Apart, since it needs asyncio."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.intercepting import either
from ctxkit.context._awaiting import asyncio_runs
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.interceptors._making import nothing

if TYPE_CHECKING:
    from ctxkit.boundary.intercepting import Call, Plan
    from ctxkit.context import Deadline


async def asleep(seconds: float) -> None:
    """Sleep, in whatever runs this coroutine."""
    if asyncio_runs():
        await asyncio.sleep(seconds)
    else:
        trio: Any = sys.modules["trio"]  # nothing else is known to run coroutines
        await trio.sleep(seconds)


def ended_at(deadline: Deadline, call: Call) -> Plan:
    """Go on with the call, and cancel what runs at the deadline.

    Raises:
        DeadlineExceeded: It was. A TimeoutError of anybody else's stays what it is.
        ConfigurationError: It is not asyncio that runs this coroutine.
    """
    if not asyncio_runs():
        raise ConfigurationError(
            "timeout()",
            "was put around a coroutine that is not run by asyncio",
            "Put trio.fail_after() around the call instead.",
        )
    scope = asyncio.timeout(deadline.remaining())
    yield either(nothing, scope.__aenter__)
    try:
        result = yield call
    except GeneratorExit:
        # Closed from outside, by a loop that ends: awaiting is not possible any more.
        with suppress(RuntimeError):  # it has expired
            scope.reschedule(None)
        raise
    except BaseException as error:
        if (yield either(nothing, partial(_left, scope, error))):
            raise deadline.exceeded() from error
        raise
    yield either(nothing, partial(_left, scope))
    return result


async def _left(scope: asyncio.Timeout, error: BaseException | None = None) -> bool:
    """Leave the scope; return whether the error is that its time was over."""
    try:
        await scope.__aexit__(None if error is None else type(error), error, None)
    except TimeoutError:
        return True
    finally:
        error = None  # its traceback holds this frame
    return False
