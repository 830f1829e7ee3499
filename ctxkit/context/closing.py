"""Closing a frame: what was started in it ends, then what was deferred runs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxkit.context.deadline import Deadline
from ctxkit.context.frame import NO_FRAME, CallFrame
from ctxkit.context.lifetime import lifetime_of
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from ctxkit.context.frame import Frame
    from ctxkit.context.lifetime import Lifetime, Startable


def close(frame: Frame, lifetime: Lifetime, *, failed: bool, seconds: float | None = None) -> None:
    """Cancel what was started in ``frame`` and wait until it has ended; run what was deferred.

    Args:
        frame: The frame of a crossing.
        lifetime: Its lifetime.
        failed: Whether an error is on its way already, which goes before those of this.
        seconds: The longest to wait for what was started; None for no limit.

    Raises:
        Exception: The first error of what was deferred, unless the body has failed.

    Safety:
        Blocks for as long as a thread goes on that never comes to a checkpoint. Tasks cannot be
        waited for here: those go over to the caller.
    """
    try:
        _end_started(frame, lifetime, seconds)
    finally:
        plan = lifetime.closing()
        error: Exception | None = None
        try:
            while True:
                value = next(plan) if error is None else plan.throw(error)
                error = _refused(value)
        except StopIteration as done:
            tell(lifetime, done.value, failed=failed)


async def aclose(lifetime: Lifetime, *, failed: bool, seconds: float | None = None) -> None:
    """Do what :func:`close` does, without blocking the loop.

    Cancelled meanwhile, it goes on, and raises that at its end.
    """
    interruption: BaseException | None = None
    try:
        if lifetime.started:
            from ctxkit.context._awaiting import end_started  # noqa: PLC0415 - brings asyncio

            interruption = await end_started(lifetime, seconds)
    finally:
        plan = lifetime.closing()
        error: Exception | None = None
        try:
            while True:
                value = next(plan) if error is None else plan.throw(error)
                error = None
                if hasattr(value, "__await__"):
                    try:
                        await value
                    except Exception as raised:  # noqa: BLE001 - it is one of those that are told
                        error = raised
        except StopIteration as done:
            tell(lifetime, done.value, failed=failed or interruption is not None)
    if interruption is not None:
        raise interruption


def _end_started(frame: Frame, lifetime: Lifetime, seconds: float | None) -> None:
    limit = None if seconds is None else Deadline.after(seconds)
    while lifetime.started:
        started = [*lifetime.started]
        for each in started:
            each.cancel()
        waiting = [each for each in started if not _is_task(each)]
        if not waiting:
            _hand_over(frame, lifetime)
            return
        from concurrent.futures import wait  # noqa: PLC0415 - who starts nothing does not need it

        futures: Any = waiting
        wait(futures, None if limit is None else limit.remaining())
        if limit is not None and limit.passed():
            return  # cancelled, and left to end
        lifetime.started.difference_update(waiting)


def _hand_over(frame: Frame, lifetime: Lifetime) -> None:
    """Leave tasks, which were cancelled, to the caller: only a coroutine can await them."""
    tasks = [*lifetime.started]
    lifetime.started.clear()
    if type(frame) is CallFrame and frame.outer.root is not NO_FRAME:
        lifetime_of(frame.outer).started.update(tasks)


def _is_task(started: Startable) -> bool:
    return hasattr(started, "get_loop")


def _refused(value: Any) -> Exception | None:
    """Return what is wrong with what a callback has returned, in synchronous code."""
    if not hasattr(value, "__await__"):
        return None
    with suppress(AttributeError):
        value.close()  # or it is told once more, that it was never awaited
    return ConfigurationError(
        "defer()",
        f"got a callback that returned {value!r}, in a synchronous call",
        "Defer a plain function, or call it in a coroutine.",
    )


def tell(lifetime: Lifetime, errors: list[Exception], *, failed: bool) -> None:
    """Raise the first of the errors of a close, unless something has failed; log the others."""
    unseen = [future for future in lifetime.failed if not future.looked_at]
    lifetime.failed.clear()
    if unseen or errors[0 if failed else 1 :]:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logger = logging.getLogger("ctxkit")
        for future in unseen:
            logger.error(
                "ctxkit.functions: %s was started, has failed, and nobody asked for its result",
                future.name,
                exc_info=future.exception(),
            )
        for error in errors[0 if failed else 1 :]:
            logger.error("ctxkit.defer: a deferred callback failed", exc_info=error)
    if errors and not failed:
        raise errors[0]
