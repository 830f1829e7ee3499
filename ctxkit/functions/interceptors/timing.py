"""Timeouts: a call has to be over within so many seconds, or with its caller."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.context import Deadline, bind
from ctxkit.context.deadline import earlier
from ctxkit.flushing.budget import checked_timeout
from ctxkit.functions.interceptors._making import deadline_of, made

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan


def timeout(seconds: float, /, *, at: Collection[str] = ("call",)) -> Interceptor:
    """Allow a call so many seconds in all: queues, attempts and the pauses between them.

    What runs is given the earlier of this deadline and its caller's: see
    :func:`ctxkit.remaining`. A coroutine is cancelled at it. Synchronous code ends at its next
    :func:`ctxkit.checkpoint`, or at the next pause or queue.

    Args:
        seconds: Zero or more.
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``.

    Raises:
        ConfigurationError: ``seconds`` is no such number.

    Context:
        The error, :class:`~ctxkit.DeadlineExceeded`, names the function whose time it was: an
        outer one, if that had less left. With the deadline passed before, the body does not
        run. Errors of the body stay what they are, also a :class:`TimeoutError`.
    """
    allowed = checked_timeout("timeout()", seconds)
    return made("timeout", 40, at, partial(_ended, allowed))


def _ended(seconds: float, call: Call) -> Plan:
    own = Deadline.after(seconds, call.name)
    deadline = earlier(deadline_of(call), own) or own
    if deadline.passed():
        raise deadline.exceeded()
    going = _ended_at(deadline, call.replace(deadline=deadline))
    if call.kind == "call":
        return (yield from going)
    # Nobody else opens a frame for it.
    with bind() as frame:
        frame.deadline = deadline
        return (yield from going)


def _ended_at(deadline: Deadline, call: Call) -> Plan:
    result: Any
    if call.asynchronous:
        from ctxkit.functions.interceptors import _waiting  # noqa: PLC0415 - brings asyncio

        result = yield from _waiting.ended_at(deadline, call)
    else:
        result = yield call
    return result
