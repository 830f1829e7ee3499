"""Running a coroutine in the context of its crossing, in the task that awaits it."""

from __future__ import annotations

from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.invocations import CLOSED
from ctxkit.context._current import CURRENT

_set_current = CURRENT.set

_COROUTINE: Any = CoroutineType
# Stands for the end of an application.
_RETURNED = object()

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from typing import Protocol

    from ctxkit.boundary._asgi_types import ASGIApp, Receive, Scope, Send
    from ctxkit.boundary.crossing import Crossing
    from ctxkit.context import Frame

    class Watch(Protocol):
        """Wants to know when an application is suspended, and is told while :attr:`watching`."""

        away: bool
        watching: bool

        def suspended(self) -> None: ...


@coroutine
def drive(
    crossing: Crossing, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> Generator[Any, Any, None]:
    """Run ``app`` in the crossing's context, and leave nothing of the request in that.

    Where nothing is to be settled or flushed this closes the crossing, too.

    :func:`ctxkit.context.stepping.run_coroutine_in` for one coroutine that never changes
    its thread, at half the price: this is the hot path of every request.
    """
    try:
        begun = crossing.context.run(first_step, crossing.frame, app, scope, receive, send)
        if begun is not None:
            rest: Any = drive_on(crossing, begun, None)
            yield from rest
    except GeneratorExit:
        # Closed from outside: awaiting is not possible any more.
        if crossing.frame.lifetime is not None:
            crossing.end_lifetime(0.0)
        raise
    finally:
        begun = None  # or an exception and this frame hold each other
        if not crossing.options.settles:
            try:
                if crossing.frame.lifetime is not None:
                    yield from crossing.aend_lifetime().__await__()
            finally:
                crossing.close()


def first_step(
    frame: Frame, app: Callable[..., Any], scope: Scope, receive: Receive, send: Send
) -> tuple[Any, object] | None:
    """Run ``app`` in ``frame`` up to where it waits for something; to be called in its context.

    Returns:
        Its coroutine, and what that awaits; None if it has returned, as most do.
    """
    inner: Any
    steps: Any
    over = True
    try:
        _set_current(frame)
        inner = app(scope, receive, send)
        if type(inner) is not _COROUTINE:
            inner = _await(inner)
        # Not send(): that raises a StopIteration at the end, which for most requests is here.
        steps = inner.__await__()
        awaited = next(steps, _RETURNED)
        if awaited is _RETURNED:
            return None
        over = False
        return steps, awaited
    finally:
        inner = steps = None  # as above
        if over:
            _set_current(CLOSED)


@coroutine
def drive_on(
    crossing: Crossing, begun: tuple[Any, object], watch: Watch | None
) -> Generator[Any, Any, None]:
    """Run an application to its end in the crossing's context.

    Args:
        crossing: Where to run.
        begun: What :func:`first_step` returned.
        watch: Who wants to hear that the application is suspended; None for nobody.
    """
    run = crossing.context.run
    step: Any
    argument: Any
    inner, awaited = begun
    try:
        while True:
            if watch is not None:
                watch.away = True
                if watch.watching:
                    watch.suspended()
            try:
                step, argument = inner.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - goes on into the application
                step, argument = inner.throw, error
            if watch is not None:
                watch.away = False
            try:
                awaited = run(step, argument)
            except StopIteration:
                return
    finally:
        step = argument = None  # as above
        run(_set_current, CLOSED)


async def _await(awaitable: Awaitable[None]) -> None:
    await awaitable
