"""Attempts, driven by stamina. Its one importer."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ctxkit.boundary.intercepting import either
from ctxkit.context.lifetime import pause as sleep
from ctxkit.exceptions import MissingDependencyError
from ctxkit.functions.interceptors._account import account_of
from ctxkit.functions.interceptors._making import deadline_of, nothing

try:
    import stamina
except ImportError as error:
    raise MissingDependencyError("stamina", "retry") from error

_DRIVERS: Final = frozenset(("stamina", "tenacity"))

if TYPE_CHECKING:
    from collections.abc import Generator

    from ctxkit.boundary.intercepting import Call, Either, Plan
    from ctxkit.functions.retrying import Retry


def repeated(policy: Retry, call: Call) -> Plan:
    """Go on with the call until an attempt succeeds, or none is left."""
    try:
        return (yield call)
    except Exception as error:  # noqa: BLE001 - stamina raises it again, unless it may pass
        failure: Exception | None = error
    # Most calls need no more. For the others stamina is told of the first attempt afterwards.
    number, told = 1, 0
    pause = 0.0
    account = account_of(call)

    def attempt() -> Generator[Call | Either, Any, Any]:
        nonlocal failure, number
        if failure is not None:
            first, failure = failure, None
            try:
                raise first
            finally:
                del first  # its traceback holds this frame
        if pause:
            yield _paused(pause, call)
        number += 1
        return (yield call)

    def after(error: BaseException) -> bool | float:
        # stamina asks about all errors, those that end a program too.
        nonlocal pause, told
        wanted = _pause_after(policy, error, number, call)
        # Not of what ended a pause.
        if account is not None and told < number and isinstance(error, Exception):
            account.fail(number, error, wanted)
        told = number
        if wanted is None:
            return False
        pause = wanted
        return 0.0  # it would block the loop of a coroutine, and a thread that is cancelled

    # What stamina calls it.
    attempt.__module__, attempt.__qualname__ = "builtins", call.name
    trying = stamina.retry(on=after, attempts=policy.max_attempts, timeout=None)(attempt)
    try:
        result: Any = yield from trying()
    except BaseException as error:
        _let_go(error)
        raise
    return result


def _let_go(error: BaseException) -> None:
    """Have the error be gone with whoever catches it, and what its traceback holds with it.

    Frames of tenacity know the error, and it knows them: only the garbage collector would end
    that, long after the request.
    """
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__", "").partition(".")[0] in _DRIVERS:
            with suppress(RuntimeError):  # it runs: this is no error of an attempt
                frame.clear()
        traceback = traceback.tb_next


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
        return either(partial(sleep, seconds), nothing)
    from ctxkit.functions.interceptors._waiting import asleep  # noqa: PLC0415 - brings asyncio

    return either(partial(sleep, seconds), partial(asleep, seconds))
