"""Closing a frame: what was started in it ends, then what was deferred runs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxkit.context.deadline import Deadline
from ctxkit.context.frame import NO_FRAME, CallFrame
from ctxkit.context.lifetime import ENDING, lifetime_of
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
        BaseException: What ends the program goes before all else, when everything has run.

    Safety:
        Blocks for as long as a thread goes on that never comes to a checkpoint. Tasks cannot be
        waited for here: those go over to the caller.
    """
    limit = None if seconds is None else Deadline.after(seconds)
    plan = lifetime.closing()
    error: BaseException | None = None
    try:
        while True:
            step = next(plan) if error is None else plan.throw(error)
            error = None
            try:
                if step is ENDING:
                    _end_started(frame, lifetime, limit)
                else:
                    error = _refused(step)
            except BaseException as raised:  # noqa: BLE001 - it is one of those that are told
                error = raised
    except StopIteration as done:
        errors, error = done.value, None
    tell(lifetime, errors, failed=failed)


async def aclose(lifetime: Lifetime, *, failed: bool, seconds: float | None = None) -> None:
    """Do what :func:`close` does, without blocking the loop.

    Cancelled meanwhile, it goes on, and raises that at its end: no more than the callback that
    was awaited is interrupted.
    """
    limit = None if seconds is None else Deadline.after(seconds)
    plan = lifetime.closing()
    error: BaseException | None = None
    closed = False  # from outside: nothing can be awaited any more
    try:
        while True:
            step: Any = next(plan) if error is None else plan.throw(error)
            error = None
            try:
                if step is ENDING:
                    if closed:
                        limit = Deadline.after(0.0)
                    error = await _aend_started(lifetime, limit, blocking=closed)
                elif closed:
                    error = _refused(step)
                elif hasattr(step, "__await__"):
                    await step
            except BaseException as raised:  # noqa: BLE001 - it is one of those that are told
                closed = closed or isinstance(raised, GeneratorExit)
                error = raised
    except StopIteration as done:
        errors, error = done.value, None
    tell(lifetime, errors, failed=failed)


def _end_started(frame: Frame, lifetime: Lifetime, limit: Deadline | None) -> None:
    started = [*lifetime.started]
    tasks = {*lifetime.leaving, *filter(_is_task, started)}
    try:
        for each in started:
            cancel(each)
        futures: Any = [each for each in started if not _is_task(each)]
        if futures:
            from concurrent.futures import wait  # noqa: PLC0415 - who starts nothing needs it not

            # When the time is over, they are cancelled, and left to end.
            wait(futures, None if limit is None else limit.remaining())
    finally:
        lifetime.started.difference_update(started)
        lifetime.leaving.difference_update(tasks)
        _hand_over(frame, tasks)


async def _aend_started(
    lifetime: Lifetime, limit: Deadline | None, *, blocking: bool
) -> BaseException | None:
    from ctxkit.context import _awaiting  # noqa: PLC0415 - brings asyncio

    if blocking or not _awaiting.asyncio_runs():
        _end_started(NO_FRAME, lifetime, limit)
        return None
    return await _awaiting.end_started(lifetime, limit)


def _hand_over(frame: Frame, tasks: set[Startable]) -> None:
    """Leave tasks, which were cancelled, to the caller: only a coroutine can await them."""
    if type(frame) is CallFrame and frame.outer.root is not NO_FRAME:
        outer = lifetime_of(frame.outer)
        if not outer.over:
            outer.leaving.difference_update([task for task in [*outer.leaving] if task.done()])
            outer.leaving.update(task for task in tasks if not task.done())


def cancel(started: Startable) -> None:
    """Ask what was started to end, from whatever thread."""
    if _is_task(started):
        from asyncio import (  # noqa: PLC0415 - as above
            _get_running_loop,  # pyright: ignore[reportPrivateUsage] - documented: for frameworks
        )

        task: Any = started
        home = task.get_loop()
        if home is not _get_running_loop():
            with suppress(RuntimeError):  # it is closed, and nothing runs in it any more
                home.call_soon_threadsafe(task.cancel)
            return
    started.cancel()


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


def tell(lifetime: Lifetime, errors: list[BaseException], *, failed: bool) -> None:
    """Raise the first of the errors of a close, unless something has failed; log the others.

    One that ends the program, or the task, is raised in any case.
    """
    ends = [error for error in errors if not isinstance(error, Exception)]
    raised = ends[0] if ends else None if failed or not errors else errors[0]
    told = [error for error in errors if error is not raised and isinstance(error, Exception)]
    tell_failed(lifetime)
    if told:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        for error in told:
            logging.getLogger("ctxkit").error(
                "ctxkit.defer: a deferred callback failed", exc_info=error
            )
    errors.clear()
    try:
        if raised is not None:
            raise raised
    finally:
        del ends, raised, told  # the traceback of one holds this frame


def tell_failed(lifetime: Lifetime) -> None:
    """Log what was started, has failed, and was not asked for its result."""
    while lifetime.failed:
        future = lifetime.failed.pop(0)
        if not future.looked_at:
            import logging  # noqa: PLC0415 - as above

            logging.getLogger("ctxkit").error(
                "ctxkit.functions: %s was started, has failed, and nobody asked for its result",
                future.name,
                exc_info=future.exception(),
            )
