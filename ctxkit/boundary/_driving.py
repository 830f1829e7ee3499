"""Running a coroutine in the context of its crossing, in the task that awaits it."""

from __future__ import annotations

from types import coroutine
from typing import TYPE_CHECKING, Any

from ctxkit.boundary.invocations import CLOSED
from ctxkit.context._current import CURRENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from typing import Protocol

    from ctxkit.boundary._asgi_types import ASGIApp, Receive, Scope, Send
    from ctxkit.boundary.crossing import Crossing

    class Watch(Protocol):
        """Wants to hear that an application is suspended, while :attr:`watching`."""

        watching: bool

        def suspended(self) -> None: ...


@coroutine
def drive(  # noqa: PLR0913, PLR0917 - ASGI's own three, and ours
    crossing: Crossing,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    watch: Watch | None = None,
) -> Generator[Any, Any, None]:
    """Run ``app`` in the crossing's context, and leave nothing of the request in that.

    Where nothing is to be settled or flushed this closes the crossing, too.

    :func:`ctxkit.context.stepping.run_coroutine_in` for one coroutine that never changes
    its thread, at half the price: this is the hot path of every request.

    Args:
        crossing: Where to run.
        app: What to run.
        scope: The application's argument.
        receive: The application's argument.
        send: The application's argument.
        watch: Who wants to hear that the application is suspended; None for nobody.
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
            if watch is not None and watch.watching:
                watch.suspended()
            try:
                step, argument = inner.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - goes on into the application
                step, argument = inner.throw, error
    finally:
        step = argument = None  # or an exception and this frame hold each other
        run(CURRENT.set, CLOSED)
        if not crossing.options.settles:
            crossing.close()


async def _await(awaitable: Awaitable[None]) -> None:
    await awaitable
