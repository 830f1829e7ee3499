"""Ending in a coroutine that may be cancelled meanwhile. Apart, since it needs asyncio."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.invocations import share_of
from ctxkit.context import Deadline
from ctxkit.context._awaiting import asyncio_runs
from ctxkit.context.closing import aclose
from ctxkit.context.lifetime import lifetime_of
from ctxkit.flushing import aflush
from ctxkit.flushing.engine import nothing_pending
from ctxkit.lifecycle._survivors import may_have_survivors
from ctxkit.lifecycle.leftovers import asettle

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable

    from ctxkit.boundary.invocations import Invocation
    from ctxkit.flushing import FlushReport


async def finished(task: Task[Any]) -> CancelledError | None:
    """Wait until ``task`` is over, cancelled or not.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    interruption = None
    while not task.done():
        try:
            await wait((task,))
        except CancelledError as error:
            interruption = error
    return interruption


async def flush_shielded(
    budget: float,
    reason: str,
    request_id: str | None,
    heard: Callable[[FlushReport], object] | None = None,
) -> CancelledError | None:
    """Flush once, to the end, however often the waiting is cancelled.

    Cancelled code must be able to flush, and anyio cancels again at each await. The budget
    bounds what that takes.

    Args:
        budget: The most seconds to wait.
        reason: What the report calls the occasion.
        request_id: What it calls the request.
        heard: Told of the report; None where nobody wants it.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    flushing = aflush(budget, reason=reason, request_id=request_id)
    task = get_running_loop().create_task(flushing)
    interruption = await finished(task)
    if heard is not None:
        heard(task.result())
    return interruption


async def finish_shielded(
    invocation: Invocation,
    reason: str,
    heard: Callable[[FlushReport], object] | None = None,
) -> CancelledError | None:
    """Do what :meth:`Invocation.finish` does, without blocking the loop, and to the end.

    Outside of asyncio this blocks.

    Args:
        invocation: What has ended.
        reason: How.
        heard: Told of the report of the flush, if there was one; None for nobody.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    if not asyncio_runs():
        invocation.finish(reason)
        return None
    interruption = limit = None
    try:
        if invocation.frame.lifetime is not None:
            interruption = await end_lifetime_shielded(invocation, invocation.budget(reason))
        if may_have_survivors(invocation):
            limit = Deadline.after(invocation.budget(reason))
            settling = _settle_shielded(invocation, share_of(limit))
            interruption = await settling or interruption
    finally:
        try:
            if invocation.count_out() and not nothing_pending():
                allowed, request_id = invocation.budget(reason, limit), invocation.request_id
                flushing = flush_shielded(allowed, reason, request_id or None, heard)
                interruption = await flushing or interruption
        finally:
            invocation.close()
    return interruption


async def end_lifetime_shielded(invocation: Invocation, seconds: float) -> CancelledError | None:
    """Do what :meth:`Invocation.end_lifetime` does, without blocking the loop."""
    lifetime = lifetime_of(invocation.frame)
    if lifetime.over:
        return None
    closing = aclose(lifetime, failed=True, seconds=seconds)
    # Not context=: some task factories do not take it.
    return await finished(invocation.telling().run(get_running_loop().create_task, closing))


async def _settle_shielded(invocation: Invocation, seconds: float) -> CancelledError | None:
    settling = asettle(
        invocation.frame, invocation.telling(), invocation.options.leftovers, seconds
    )
    return await finished(get_running_loop().create_task(settling))
