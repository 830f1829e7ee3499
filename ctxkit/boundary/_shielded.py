"""Flushing in a coroutine that may be cancelled meanwhile. Apart, since it needs asyncio."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait
from typing import TYPE_CHECKING, Any

from ctxkit.flushing import aflush, flush
from ctxkit.flushing.engine import nothing_pending

if TYPE_CHECKING:
    from asyncio import Task

    from ctxkit.boundary.crossing import Crossing


def asyncio_runs() -> bool:
    """Return whether this coroutine is run by asyncio, and not by trio."""
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


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
    budget: float, reason: str, request_id: str | None = None
) -> CancelledError | None:
    """Flush once, to the end, however often the waiting is cancelled.

    Cancelled code must be able to flush, and anyio cancels again at each await. The budget
    bounds what that takes. Outside of asyncio this blocks.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    if not asyncio_runs():
        flush(budget, reason=reason, request_id=request_id)
        return None
    flushing = aflush(budget, reason=reason, request_id=request_id)
    return await finished(get_running_loop().create_task(flushing))


async def finish_shielded(crossing: Crossing, reason: str) -> CancelledError | None:
    """Do what :meth:`Crossing.finish` does, without blocking the loop.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    if not crossing.leave() or nothing_pending():
        return None
    return await flush_shielded(crossing.budget(reason), reason, crossing.request_id)
