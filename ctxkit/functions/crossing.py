"""Crossing into a function: a frame of its own, a context of its own, and the end of both."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ctxkit.context._current import CURRENT
from ctxkit.context._hops import HELD_UP
from ctxkit.context._sifting import handed_down, known
from ctxkit.context.closing import aclose, close
from ctxkit.context.deadline import earlier
from ctxkit.context.frame import NO_FRAME, CallFrame
from ctxkit.context.lifetime import OVER
from ctxkit.context.stepping import SteppedCoroutine, carried_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context

    from ctxkit.boundary.intercepting import Call
    from ctxkit.context import Deadline, Frame

_get, _set = CURRENT.get, CURRENT.set


def framed(values: Mapping[str, object], deadline: Deadline | None) -> CallFrame:
    """Return the frame of a call that is made here and now.

    Args:
        values: What is laid over those of the caller.
        deadline: When it has to be over; with the caller at the latest.

    Raises:
        DeadlineExceeded: That has passed.
    """
    outer = _get(NO_FRAME)
    deadline = earlier(outer.deadline, deadline)
    if deadline is not None and deadline.passed():
        raise deadline.exceeded()
    inherited = handed_down(outer) if HELD_UP else known(outer)
    return CallFrame.over(outer, {**inherited, **values} if values else inherited, deadline)


def cross(call: Call) -> Any:
    """Call a synchronous function in a frame of its own."""
    function: Any = call.function
    frame = framed(call.values, call.deadline)
    context = copy_context()
    context.run(_set, frame)
    try:
        result = context.run(function, *call.args, **call.kwargs)
    except BaseException:
        end(context, frame, failed=True)
        raise
    end(context, frame, failed=False)
    return result


async def across(call: Call) -> Any:
    """Await a coroutine function in a frame of its own."""
    function: Any = call.function
    frame = framed(call.values, call.deadline)
    context = copy_context()
    context.run(_set, frame)
    try:
        coroutine = function(*call.args, **call.kwargs)
        stepped: SteppedCoroutine[Any] = SteppedCoroutine(context, coroutine)
        result = await stepped
    except GeneratorExit:
        end(context, frame, failed=True)  # closed from outside: nothing can be awaited any more
        raise
    except BaseException:
        await aend(context, frame, failed=True)
        raise
    await aend(context, frame, failed=False)
    return result


def end(context: Context, frame: Frame, *, failed: bool) -> None:
    """Close the frame of a call."""
    lifetime, frame.lifetime = frame.lifetime, frame.lifetime or OVER
    if lifetime is not None:
        context.run(close, frame, lifetime, failed=failed)


async def aend(context: Context, frame: Frame, *, failed: bool) -> None:
    """Close the frame of a call that is awaited."""
    lifetime, frame.lifetime = frame.lifetime, frame.lifetime or OVER
    if lifetime is not None:
        await SteppedCoroutine(context, aclose(lifetime, failed=failed))


def quick(function: Callable[..., Any], slow: Callable[..., Any], unit: Any, now: Any) -> Any:
    """Return :func:`cross` for a function around which there is nothing, unrolled.

    Args:
        function: What is called.
        slow: Called with the arguments where there is something around it.
        unit: Has as ``quick`` the generation of interceptors for which there was nothing.
        now: Has as ``generation`` the one of now.
    """
    new = CallFrame

    def call(*args: Any, **kwargs: Any) -> Any:
        outer = _get(NO_FRAME)
        if unit.quick is not now.generation:
            return slow(args, kwargs)
        frame = new()
        frame.outer = outer
        frame._values = handed_down(outer) if HELD_UP else outer._values  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        frame._root = frame.lifetime = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        frame.deadline = deadline = outer.deadline
        if deadline is not None and deadline.passed():
            raise deadline.exceeded()
        context = copy_context()
        run = context.run
        run(_set, frame)
        try:
            # An empty dict is unpacked, too, and takes its time.
            result = run(function, *args, **kwargs) if kwargs else run(function, *args)
        except BaseException:
            end(context, frame, failed=True)
            raise
        if frame.lifetime is None:
            frame.lifetime = OVER
        else:
            end(context, frame, failed=False)
        return result

    return call


def aquick(function: Callable[..., Any], slow: Callable[..., Any], unit: Any, now: Any) -> Any:
    """Return :func:`across` for such a function, unrolled: what does not wait is not stepped."""
    new = CallFrame

    async def call(*args: Any, **kwargs: Any) -> Any:
        outer = _get(NO_FRAME)
        if unit.quick is not now.generation:
            return await slow(args, kwargs)
        frame = new()
        frame.outer = outer
        frame._values = handed_down(outer) if HELD_UP else outer._values  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        frame._root = frame.lifetime = None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        frame.deadline = deadline = outer.deadline
        if deadline is not None and deadline.passed():
            raise deadline.exceeded()
        context = copy_context()
        run = context.run
        run(_set, frame)
        try:
            coroutine = function(*args, **kwargs) if kwargs else function(*args)
            try:
                awaited = run(coroutine.send, None)
            except StopIteration as done:
                result = done.value
            else:
                stepped: SteppedCoroutine[Any] = SteppedCoroutine(context, coroutine)
                result = await carried_on(stepped, awaited)
        except GeneratorExit:
            end(context, frame, failed=True)
            raise
        except BaseException:
            awaited = None  # it may hold the error, whose traceback holds this frame
            await aend(context, frame, failed=True)
            raise
        if frame.lifetime is None:
            frame.lifetime = OVER
        else:
            await aend(context, frame, failed=False)
        return result

    return call
