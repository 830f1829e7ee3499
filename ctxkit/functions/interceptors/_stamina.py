"""Attempts, driven by stamina. Its one importer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.intercepting import either
from ctxkit.context.lifetime import pause as sleep
from ctxkit.exceptions import MissingDependencyError
from ctxkit.functions.interceptors._account import account_of
from ctxkit.functions.interceptors._making import deadline_of

try:
    import stamina
except ImportError as error:
    raise MissingDependencyError("stamina", "retry") from error

if TYPE_CHECKING:
    from collections.abc import Generator

    from ctxkit.boundary.intercepting import Call, Either, Plan
    from ctxkit.functions.retrying import Retry


def repeated(policy: Retry, call: Call) -> Plan:
    """Go on with the call until an attempt succeeds, or none is left."""
    number = 0
    pause = 0.0
    account = account_of(call)

    def attempt() -> Generator[Call | Either, Any, Any]:
        nonlocal number
        if pause:
            yield _paused(pause, call)
        number += 1
        return (yield call)

    def after(error: BaseException) -> bool | float:
        # stamina asks about all errors, those that end a program too.
        nonlocal pause
        wanted = _pause_after(policy, error, number, call)
        if account is not None and isinstance(error, Exception):
            account.fail(number, error, wanted)
        if wanted is None:
            return False
        pause = wanted
        return 0.0  # it would block the loop of a coroutine, and a thread that is cancelled

    # What stamina calls it.
    attempt.__module__, attempt.__qualname__ = "builtins", call.name
    trying = stamina.retry(on=after, attempts=policy.max_attempts, timeout=None)(attempt)
    result: Any = yield from trying()
    return result


def _pause_after(policy: Retry, error: BaseException, number: int, call: Call) -> float | None:
    """Return the seconds to wait after an attempt failed; None to give up."""
    if stamina.is_testing():
        # Tests may say how often.
        wanted = 0.0 if policy.is_retryable(error) else None
    else:
        wanted = policy.pause_after(error, number)
    deadline = deadline_of(call)
    if wanted is None or (deadline is not None and deadline.remaining() <= wanted):
        return None
    return wanted


def _paused(seconds: float, call: Call) -> Either:
    if not call.asynchronous:
        return either(partial(sleep, seconds), _unreachable)
    from ctxkit.functions.interceptors._waiting import asleep  # noqa: PLC0415 - brings asyncio

    return either(partial(sleep, seconds), partial(asleep, seconds))


async def _unreachable() -> None:
    """Be awaited by nobody."""
