"""Flushing in a coroutine that may be cancelled meanwhile. Apart, since it needs asyncio."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait
from typing import TYPE_CHECKING, Any

from ctxkit.flushing import aflush, flush

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable

    from ctxkit.flushing import FlushReport


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
    budget: float,
    reason: str,
    request_id: str | None = None,
    heard: Callable[[FlushReport], object] | None = None,
) -> CancelledError | None:
    """Flush once, to the end, however often the waiting is cancelled.

    Cancelled code must be able to flush, and anyio cancels again at each await. The budget
    bounds what that takes. Outside of asyncio this blocks.

    Args:
        budget: The most seconds to wait.
        reason: What the report calls the occasion.
        request_id: What it calls the request.
        heard: Told of the report; None where nobody wants it.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    interruption = None
    if asyncio_runs():
        flushing = aflush(budget, reason=reason, request_id=request_id)
        task = get_running_loop().create_task(flushing)
        interruption = await finished(task)
        report = task.result()
    else:
        report = flush(budget, reason=reason, request_id=request_id)
    if heard is not None:
        heard(report)
    return interruption
