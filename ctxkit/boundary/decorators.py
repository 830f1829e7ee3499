"""The boundary of a single function."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, final, overload

from ctxkit.boundary._callables import is_coroutine_function
from ctxkit.boundary.crossing import FUNCTION_PROTOCOL
from ctxkit.boundary.hosting import HOST, meet_host
from ctxkit.boundary.invocations import CLOSED, NOWHERE, Invocation
from ctxkit.boundary.options import BoundaryOptions, FlushMode, chosen_leftovers
from ctxkit.boundary.request_id import chosen_id
from ctxkit.context import NO_FRAME, Deadline, Frame
from ctxkit.context._current import CURRENT
from ctxkit.context.frame import outermost
from ctxkit.flushing.budget import (
    checked_timeout,
    default_timeout,
    remaining_of,
    remaining_on_cloud_run,
)
from ctxkit.lifecycle import begun

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


@overload
def flush_before_return(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def flush_before_return(
    *, timeout: float | None = None, leftovers: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def flush_before_return(
    function: Any = None, /, *, timeout: float | None = None, leftovers: str | None = None
) -> Any:
    """Flush whatever the call recorded before its result is handed to the caller.

    For handlers of serverless hosts, views and any other function after which the process
    may be frozen or end::

        @ctxkit.flush_before_return
        def handler(event, context): ...


        @ctxkit.flush_before_return(timeout=0.5)
        async def view(request): ...

    It always flushes, whatever ``CTXKIT_FLUSH_MODE`` says, but on Lambda's managed
    instances, which are never frozen: on return and on every exception, ``SystemExit`` and
    cancellation included. Result and exception are passed on
    as the same objects. Put it outermost. What is recorded around it lands only with a
    boundary further out: of a Django view, the server span and the transaction end after
    it, so use the middleware for those.

    Args:
        function: A ``def`` or ``async def`` function, a method, a ``functools.partial`` or
            any object with a ``__call__``.
        timeout: The longest that the flush may take, in seconds. None:
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0. Where the call has a Lambda context object
            among its arguments, the frame a deadline, or Cloud Run a time limit, it is
            shortened so that the flush ends before that.
        leftovers: What becomes of tasks, threads, timers and jobs that a call which got a
            frame has started and that are alive at its end: ``"warn"``, ``"await"``,
            ``"cancel"`` or ``"ignore"``; None reads ``CTXKIT_LEFTOVERS``, else warns, but
            on Lambda's managed instances, which go on.

    Returns:
        A function with the signature of ``function``, a coroutine function if it is one.

    Raises:
        ConfigurationError: ``function`` is a class, a generator function or not callable,
            or ``timeout`` or ``leftovers`` cannot be used.

    Context:
        Called as a Lambda handler outside of any frame, the call gets one: ``request_id``
        is the ``aws_request_id``, the deadline is Lambda's. It runs in a copy of the
        context then, and the frame is gone when it returns.

    Safety:
        Blocks for up to ``timeout``; a coroutine waits without blocking its loop. Never
        raises because of a sink.
    """
    options = chosen_options(timeout, leftovers)
    if function is None:
        return partial(_decorated, options)
    return _decorated(options, function)


def chosen_options(timeout: float | None, leftovers: str | None) -> BoundaryOptions:
    """Return what is chosen for functions that are flushed, whatever ``CTXKIT_FLUSH_MODE`` says.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    timeout = None if timeout is None else checked_timeout("timeout", timeout)
    default_timeout()  # an unusable CTXKIT_FLUSH_TIMEOUT is to be told now
    meet_host()
    policy = chosen_leftovers(leftovers, frozen=not HOST.background)
    mode = FlushMode.NEVER if HOST.background else FlushMode.ALWAYS
    return BoundaryOptions(mode, timeout, leftovers=policy)


def _decorated(options: BoundaryOptions, function: Any) -> Any:
    if type(function) in (staticmethod, classmethod):
        return type(function)(_decorated(options, function.__func__))
    asynchronous = is_coroutine_function("flush_before_return", function)
    if asynchronous:
        return HOST.adapt(update_wrapper(_asynchronous(options, function), function))
    return update_wrapper(_synchronous(options, function), function)


def _synchronous(options: BoundaryOptions, function: Callable[..., R]) -> Callable[..., R]:
    def flushing(*args: Any, **kwargs: Any) -> R:
        call = _Call(options, args)
        reason = "exception"
        try:
            result = call.run(function, *args, **kwargs)
            reason = "return"
        finally:
            call.finish(reason)
        return result

    return flushing


def _asynchronous(options: BoundaryOptions, function: Callable[..., Any]) -> Callable[..., Any]:
    from ctxkit.boundary._shielded import finish_shielded  # noqa: PLC0415 - brings asyncio
    from ctxkit.context.stepping import run_coroutine_in  # noqa: PLC0415 - only coroutines need it

    async def flushing(*args: Any, **kwargs: Any) -> Any:
        call = _Call(options, args)
        try:
            coroutine = call.run(function, *args, **kwargs)
            if call.context is not NOWHERE:
                coroutine = run_coroutine_in(call.context, coroutine)
            result = await coroutine
        except GeneratorExit:
            # Closed from outside, by a loop that ends: awaiting is not possible any more.
            call.finish("dropped")
            raise
        except BaseException:
            await finish_shielded(call, "exception")
            raise
        interruption = await finish_shielded(call, "return")
        if interruption is not None:
            raise interruption
        return result

    return flushing


@final
class _Call(Invocation):
    """Stand for one call. It opens a frame if Lambda makes it, outside of any other."""

    __slots__ = ()

    def __init__(self, options: BoundaryOptions, args: tuple[Any, ...]) -> None:
        outer = CURRENT.get(NO_FRAME)
        deadline, frame, context, request_id = outer.deadline, CLOSED, NOWHERE, ""
        # handler(event, context), or the method of an object.
        for host in args[1:3]:
            remaining = remaining_of(host)
            if remaining is not None:
                deadline = Deadline.after(remaining)
                if outermost(outer) in (NO_FRAME, CLOSED):
                    frame = _frame(outer, host, deadline, options.mode)
                    request_id = str(frame["request_id"])
                    context = copy_context()
                    context.run(CURRENT.set, frame)
                break
        else:
            # functions-framework raises in the midst of a flush that goes beyond it.
            remaining = None if deadline else remaining_on_cloud_run(0.0)
            if remaining is not None:
                deadline = Deadline.after(remaining)
        counts = frame is not CLOSED
        super().__init__(options, frame, context, deadline, request_id, counts=counts)

    def run(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Call ``function`` where the call runs."""
        if self.context is NOWHERE:
            return function(*args, **kwargs)
        return self.context.run(function, *args, **kwargs)


def _frame(outer: Frame, host: Any, deadline: Deadline, mode: FlushMode) -> Frame:
    given = getattr(host, "aws_request_id", "")
    request_id, _ = chosen_id(str(given), trusted=True)
    known: dict[str, object] = {"request_id": request_id, "protocol": FUNCTION_PROTOCOL}
    known["aws_request_id"] = given
    begun(known, mode)
    frame = outer.extended(known)
    frame.root = frame
    frame.deadline = deadline
    return frame
