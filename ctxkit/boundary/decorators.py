"""The boundary of a single function."""

from __future__ import annotations

from contextvars import Context, copy_context
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast, final, overload

from ctxkit.boundary.crossing import CLOSED, FUNCTION_PROTOCOL, budget
from ctxkit.boundary.request_id import chosen_id
from ctxkit.context import NO_FRAME, Deadline, Frame
from ctxkit.context._current import CURRENT
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import flush
from ctxkit.flushing.budget import checked_timeout, default_timeout, remaining_of
from ctxkit.lifecycle import begun, ended

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

# Code flags of the data model; the module inspect, which names them, is not worth its import.
_GENERATOR: Final = 0x20
_COROUTINE: Final = 0x80
_ASYNC_GENERATOR: Final = 0x200


@overload
def flush_before_return(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def flush_before_return(
    *, timeout: float | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def flush_before_return(function: Any = None, /, *, timeout: float | None = None) -> Any:
    """Flush whatever the call recorded before its result is handed to the caller.

    For handlers of serverless hosts, views and any other function after which the process
    may be frozen or end::

        @ctxkit.flush_before_return
        def handler(event, context): ...


        @ctxkit.flush_before_return(timeout=0.5)
        async def view(request): ...

    It always flushes, whatever ``CTXKIT_FLUSH_MODE`` says: on return and on every
    exception, ``SystemExit`` and cancellation included. Result and exception are passed on
    as the same objects. Put it outermost. What is recorded around it lands only with a
    boundary further out: of a Django view, the server span and the transaction end after
    it, so use the middleware for those.

    Args:
        function: A ``def`` or ``async def`` function, a method, a ``functools.partial`` or
            any object with a ``__call__``.
        timeout: The longest that the flush may take, in seconds. None:
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0. Where the call has a Lambda context object
            among its arguments, or the frame a deadline, it is shortened so that the flush
            ends before it.

    Returns:
        A function with the signature of ``function``, a coroutine function if it is one.

    Raises:
        ConfigurationError: ``function`` is a class, a generator function or not callable,
            or ``timeout`` cannot be used.

    Context:
        Called as a Lambda handler outside of any frame, the call gets one: ``request_id``
        is the ``aws_request_id``, the deadline is Lambda's. It runs in a copy of the
        context then, and the frame is gone when it returns.

    Safety:
        Blocks for up to ``timeout``; a coroutine waits without blocking its loop. Never
        raises because of a sink.
    """
    timeout = None if timeout is None else checked_timeout("timeout", timeout)
    default_timeout()  # an unusable CTXKIT_FLUSH_TIMEOUT is to be told now
    if function is None:
        return partial(_decorated, timeout)
    return _decorated(timeout, function)


def _decorated(timeout: float | None, function: Any) -> Any:
    if type(function) in (staticmethod, classmethod):
        return type(function)(_decorated(timeout, function.__func__))
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(
            "flush_before_return",
            f"got {function!r}, which is a class or cannot be called",
            "Put it on the method that does the work.",
        )
    flags = _code_flags(function)
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise ConfigurationError(
            "flush_before_return",
            f"got {function!r}, a generator function, which returns before its body has run",
            "Put it on what consumes the generator, or use the middleware.",
        )
    wrap = _asynchronous if flags & _COROUTINE else _synchronous
    return update_wrapper(wrap(timeout, function), function)


def _code_flags(function: Any) -> int:
    """Return what kind of function a call would run, as the flags of its code."""
    while isinstance(function, partial):
        function = function.func
    # inspect.markcoroutinefunction() marks so, and asgiref's before Python 3.12.
    if not {"_is_coroutine_marker", "_is_coroutine"}.isdisjoint(getattr(function, "__dict__", ())):
        return _COROUTINE
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return 0 if code is None else cast("int", code.co_flags)


def _synchronous(timeout: float | None, function: Callable[..., R]) -> Callable[..., R]:
    def flushing(*args: Any, **kwargs: Any) -> R:
        call = _Call(timeout, args)
        reason = "exception"
        try:
            result = call.run(function, *args, **kwargs)
            reason = "return"
        finally:
            flush(call.over(), reason=reason, request_id=call.request_id)
        return result

    return flushing


def _asynchronous(timeout: float | None, function: Callable[..., Any]) -> Callable[..., Any]:
    from ctxkit.boundary._shielded import flush_shielded  # noqa: PLC0415 - brings asyncio
    from ctxkit.context.stepping import run_coroutine_in  # noqa: PLC0415 - only coroutines need it

    async def flushing(*args: Any, **kwargs: Any) -> Any:
        call = _Call(timeout, args)
        try:
            coroutine = call.run(function, *args, **kwargs)
            if call.context is not None:
                coroutine = run_coroutine_in(call.context, coroutine)
            result = await coroutine
        except GeneratorExit:
            # Closed from outside, by a loop that ends: awaiting is not possible any more.
            call.over()
            flush(0, reason="cancelled", request_id=call.request_id)
            raise
        except BaseException:
            await flush_shielded(call.over(), "exception", call.request_id)
            raise
        interruption = await flush_shielded(call.over(), "return", call.request_id)
        if interruption is not None:
            raise interruption
        return result

    return flushing


@final
class _Call:
    """Stand for one call: where it runs, and how long its flush may take."""

    __slots__ = ("_deadline", "_timeout", "context", "request_id")

    def __init__(self, timeout: float | None, args: tuple[Any, ...]) -> None:
        self._timeout = timeout
        #: Where the call runs, if it opened a frame; None: where it is.
        self.context: Context | None = None
        #: The id of the request it is, if it opened a frame; None: as it is around it.
        self.request_id: str | None = None
        outer = CURRENT.get(NO_FRAME)
        self._deadline = outer.deadline
        # handler(event, context), or the method of an object.
        for host in args[1:3]:
            remaining = remaining_of(host)
            if remaining is not None:
                self._deadline = Deadline.after(remaining)
                if outer.root in (NO_FRAME, CLOSED):
                    self.context = copy_context()
                    self.context.run(CURRENT.set, self._frame(outer, host))
                break

    def _frame(self, outer: Frame, host: Any) -> Frame:
        request_id, _ = chosen_id(str(getattr(host, "aws_request_id", "")), trusted=True)
        self.request_id = request_id
        known: dict[str, object] = {"request_id": request_id, "protocol": FUNCTION_PROTOCOL}
        begun(known, "always")
        frame = outer.extended(known)
        frame.root = frame
        frame.deadline = self._deadline
        return frame

    def run(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        """Call ``function`` where the call runs."""
        if self.context is None:
            return function(*args, **kwargs)
        return self.context.run(function, *args, **kwargs)

    def over(self) -> float:
        """Note that the function has returned; return the seconds that the flush may take."""
        if self.context is not None:
            ended()
        return budget(self._timeout, self._deadline)
