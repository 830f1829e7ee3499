"""Waiting, in a coroutine, for what was started in a frame. Private, and apart: needs asyncio."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ctxkit.context.closing import cancel

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from ctxkit.context.deadline import Deadline
    from ctxkit.context.lifetime import Lifetime


def asyncio_runs() -> bool:
    """Return whether it is asyncio that runs this coroutine, and not trio."""
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


async def end_started(lifetime: Lifetime, limit: Deadline | None) -> CancelledError | None:
    """Cancel what was started and wait until it has ended, however often that is cancelled.

    Args:
        lifetime: What it was started in.
        limit: When to wait no longer; None for no limit.

    Returns:
        What interrupted the waiting, for the caller to raise when it is done.
    """
    interruption = None
    loop = get_running_loop()
    started: list[Any] = [*lifetime.started]
    leaving: list[Any] = [*lifetime.leaving]
    try:
        for each in started:
            cancel(each)
        waiting = [_end_of(each, loop) for each in (*started, *leaving)]
        pending: list[Future[Any]]
        pending = [each for each in waiting if each is not None and not each.done()]
        # When the time is over, they are cancelled, and left to end.
        while pending and not (limit is not None and limit.passed()):
            try:
                await wait(pending, timeout=None if limit is None else limit.remaining())
            except CancelledError as error:
                interruption = error
            pending = [each for each in pending if not each.done()]
    finally:
        lifetime.started.difference_update(started)
        lifetime.leaving.difference_update(leaving)
    return interruption


def _end_of(started: Any, loop: AbstractEventLoop) -> Future[Any] | None:
    """Return what is done in ``loop`` when ``started`` is; None where nobody here can await it."""
    if hasattr(started, "get_loop"):
        return started if started.get_loop() is loop else None
    # Not wrap_future(): it would ask for the error, and nobody would be told of it.
    gate: Future[None] = loop.create_future()

    def ended(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(partial(_open, gate))

    started.add_done_callback(ended)
    return gate


def _open(gate: Future[None]) -> None:
    if not gate.done():
        gate.set_result(None)
