"""Running a coroutine in the context of its crossing, in the task that awaits it."""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.crossing import CLOSED
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    from ctxkit.boundary._asgi_types import ASGIApp, Receive, Scope, Send
    from ctxkit.boundary.crossing import Crossing


@coroutine
def drive(
    crossing: Crossing, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> Generator[Any, Any, None]:
    """Run ``app`` in the crossing's context, and leave nothing of the request in that.

    :func:`ctxkit.context.stepping.run_coroutine_in` for one coroutine that never changes
    its thread, at half the price: this is the hot path of every request.
    """
    run = crossing.context.run
    step: Any
    argument: Any
    try:
        inner: Any = run(app, scope, receive, send)
        if not hasattr(inner, "send"):
            inner = _await(inner)
        step, argument = inner.send, None
        while True:
            try:
                awaited = run(step, argument)
            except StopIteration:
                return
            try:
                step, argument = inner.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - goes on into the application
                step, argument = inner.throw, error
    finally:
        step = argument = None  # or an exception and this frame hold each other
        crossing.close()
        run(CURRENT.set, CLOSED)


async def _await(awaitable: Awaitable[None]) -> None:
    await awaitable
