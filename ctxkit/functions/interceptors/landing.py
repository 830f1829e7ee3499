"""Flushing: what a call has recorded lands before its caller gets the result."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.decorators import chosen_options
from ctxkit.boundary.intercepting import either
from ctxkit.boundary.invocations import CLOSED, NOWHERE, Invocation
from ctxkit.context import Deadline
from ctxkit.flushing.budget import remaining_on_cloud_run
from ctxkit.functions.interceptors._making import NO_REQUESTS, deadline_of, made, nothing

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan
    from ctxkit.boundary.options import BoundaryOptions


def flush(timeout: float | None = None, /, *, at: Collection[str] = ("call",)) -> Interceptor:
    """Flush whatever a call has recorded before its caller gets the result, or the error.

    What :func:`ctxkit.flush_before_return` does, and with its parts; that is what to put on the
    handler of a host, which gets a frame and a deadline from it.

    Args:
        timeout: The longest that the flush may take, in seconds. None:
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0. A deadline shortens it.
        at: What it is put around: ``"call"``, ``"task"``. Requests are flushed by their
            boundary.

    Raises:
        ConfigurationError: ``timeout`` cannot be used.

    Context:
        It is outermost, so the span of the call lands too. The function's own timeout does not
        count the flush.

    Safety:
        Blocks for up to ``timeout``; a coroutine waits without blocking its loop. Never raises
        because of a sink.
    """
    options = chosen_options(timeout, None)
    return made("flush", 5, at, partial(_flushed, options), possible=NO_REQUESTS)


def _flushed(options: BoundaryOptions, call: Call) -> Plan:
    deadline = deadline_of(call) or _deadline_of_host()
    invocation = Invocation(options, CLOSED, NOWHERE, deadline, "", counts=False)
    try:
        result = yield call
    except GeneratorExit:
        # Closed from outside, by a loop that ends: awaiting is not possible any more.
        invocation.finish("dropped")
        raise
    except BaseException:
        yield _finished(invocation, "exception", call)
        raise
    interruption = yield _finished(invocation, "return", call)
    if interruption is not None:
        raise interruption
    return result


def _finished(invocation: Invocation, reason: str, call: Call) -> Any:
    finish = partial(_finish, invocation, reason)
    if not call.asynchronous:
        return either(finish, nothing)
    from ctxkit.boundary._shielded import finish_shielded  # noqa: PLC0415 - brings asyncio

    return either(finish, partial(finish_shielded, invocation, reason))


def _finish(invocation: Invocation, reason: str) -> None:
    invocation.finish(reason)


def _deadline_of_host() -> Deadline | None:
    remaining = remaining_on_cloud_run(0.0)
    return None if remaining is None else Deadline.after(remaining)
