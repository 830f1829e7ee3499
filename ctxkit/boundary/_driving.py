"""Running a coroutine in the context of its crossing, in the task that awaits it."""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.crossing import CLOSED
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from ctxkit.boundary._asgi_types import ASGIApp, Receive, Scope, Send
    from ctxkit.boundary.crossing import Crossing


@coroutine
def drive(  # noqa: PLR0913, PLR0917 - ASGI's own three, and ours
    crossing: Crossing,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    step_in: Callable[..., Any] | None = None,
) -> Generator[Any, Any, None]:
    """Run ``app`` in the crossing's context, and leave nothing of the request in that.

    :func:`ctxkit.context.stepping.run_coroutine_in` for one coroutine that never changes
    its thread, at half the price: this is the hot path of every request.

    Args:
        crossing: Where to run.
        app: What to run.
        scope: The application's argument.
        receive: The application's argument.
        send: The application's argument.
        step_in: Stands in for the context's ``run`` at each step; None for that itself.
    """
    run = crossing.context.run
    step_in = step_in or run
    step: Any
    argument: Any
    try:
        inner: Any = run(app, scope, receive, send)
        if not hasattr(inner, "send"):
            inner = _await(inner)
        step, argument = inner.send, None
        while True:
            try:
                awaited = step_in(step, argument)
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
