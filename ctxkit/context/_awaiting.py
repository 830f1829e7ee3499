"""Waiting, in a coroutine, for what was started in a frame. Private, and apart: needs asyncio."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait, wrap_future
from typing import TYPE_CHECKING, Any

from ctxkit.context.deadline import Deadline

if TYPE_CHECKING:
    from asyncio import Future

    from ctxkit.context.lifetime import Lifetime


async def end_started(lifetime: Lifetime, seconds: float | None) -> CancelledError | None:
    """Cancel what was started and wait until it has ended, however often that is cancelled.

    Args:
        lifetime: What it was started in.
        seconds: The longest to wait; None for no limit.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    interruption = None
    limit = None if seconds is None else Deadline.after(seconds)
    loop = get_running_loop()
    while lifetime.started:
        started: list[Any] = [*lifetime.started]
        waiting: list[Future[Any]] = []
        for each in started:
            home = each.get_loop() if hasattr(each, "get_loop") else None
            if home is not None and home is not loop:
                home.call_soon_threadsafe(each.cancel)  # nobody here can await it
                continue
            each.cancel()
            waiting.append(wrap_future(each) if home is None else each)
        while pending := [each for each in waiting if not each.done()]:
            if limit is not None and limit.passed():
                return interruption  # cancelled, and left to end
            try:
                await wait(pending, timeout=None if limit is None else limit.remaining())
            except CancelledError as error:
                interruption = error
        for each in waiting:
            if not each.cancelled() and each not in started:
                each.exception()  # the one that it wraps is asked by whoever cares
        lifetime.started.difference_update(started)
    return interruption
