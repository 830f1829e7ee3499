"""Holding the end of an ASGI response. Apart, since it needs asyncio, which nothing else does."""

from __future__ import annotations

from asyncio import CancelledError, get_running_loop
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.boundary._driving import drive
from ctxkit.boundary._ending import Ending
from ctxkit.boundary._shielded import finished, flush_shielded
from ctxkit.boundary.completion import Completion
from ctxkit.boundary.crossing import Crossing, budget
from ctxkit.flushing import nudge
from ctxkit.flushing.engine import nothing_pending

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task
    from collections.abc import Callable

    from ctxkit.boundary._asgi_types import ASGIApp, Message, Receive, Scope, Send

#: The longest that an application may go on after it completed its response, in seconds.
SETTLE_LIMIT: Final = 10.0

# What only names a file: the application may delete or close it when it believes it sent.
_BY_REFERENCE: Final = frozenset(("http.response.pathsend", "http.response.zerocopysend"))


async def cross_held(
    crossing: Crossing, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Run ``app`` and let its response end only when its telemetry has landed."""
    try:
        loop = get_running_loop()
    except RuntimeError:
        await _cross_unheld(crossing, app, scope, receive, send)
        return
    held = _Held(crossing, scope, receive, send, loop)
    try:
        await drive(crossing, app, scope, held.receive, held.send, held.step)
    except GeneratorExit:
        # Closed from outside, by a loop that ends: awaiting is not possible any more.
        crossing.finish("dropped")
        raise
    except BaseException as error:
        await held.settle("cancelled" if isinstance(error, CancelledError) else "exception")
        raise
    await held.settle("response")


async def _cross_unheld(
    crossing: Crossing, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Flush after the response: what is left to do under trio."""
    try:
        await drive(crossing, app, scope, receive, send)
    finally:
        crossing.finish("response")


@final
class _Held:
    """Stand between an application and its server."""

    __slots__ = (
        "_completion",
        "_crossing",
        "_ending",
        "_events",
        "_late",
        "_loop",
        "_receive",
        "_released",
        "_run",
        "_scope",
        "_send",
        "_stepping",
        "_timer",
        "_trailers",
    )

    def __init__(
        self,
        crossing: Crossing,
        scope: Scope,
        receive: Receive,
        send: Send,
        loop: AbstractEventLoop,
    ) -> None:
        self._crossing = crossing
        self._run = crossing.context.run
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = loop
        self._completion: Completion | None = None
        self._trailers = False
        # From the event on that completes the response for the client.
        self._events: list[Message] | None = None
        self._released = False
        # Of the application's last event, which may be later; made when it is asked for.
        self._ending: Ending | bool = False
        self._stepping = False
        self._timer: Any = None
        self._late: Task[None] | None = None
        extensions = scope.get("extensions")
        if extensions and not _BY_REFERENCE.isdisjoint(extensions):
            scope["extensions"] = {
                name: extensions[name] for name in extensions if name not in _BY_REFERENCE
            }

    def step(self, step: Callable[[Any], Any], argument: Any) -> Any:
        """Run one step of the application, and mind that it goes on after its response."""
        self._stepping = True
        try:
            awaited = self._run(step, argument)
        finally:
            self._stepping = False
        # Most return in the step in which they complete it, and a timer costs more than all
        # else here.
        if self._events is not None and self._timer is None and not self._released:
            self._set_timer()
        return awaited

    async def send(self, message: Message) -> None:
        """Pass on what does not complete the response; hold that and what follows."""
        kind = message["type"]
        completes = False
        if kind == "http.response.body":
            ends = not (message.get("more_body") or self._trailers)
            if self._completion is not None:
                completes = self._completion.at_part(len(message.get("body") or b""))
        elif kind == "http.response.start":
            # They may be an iterator (Sanic's are), and are looked at here before they leave.
            message = {**message, "headers": list(message.get("headers") or ())}
            ends, completes = False, self._starts(message)
        else:
            ends = self._ends(kind, message)
        events = self._events
        if events is None:
            if self._released or not (completes or ends):
                await self._send(message)
                nudge()
                return
            self._events = events = []
            if not self._stepping:
                self._set_timer()
        events.append(message)
        if ends:
            if isinstance(self._ending, Ending):
                self._ending.reach()
            self._ending = True

    async def receive(self) -> Message:
        """Return the server's next event, or at once that there is none after the end.

        Servers say "disconnect" once a response is out. An application that waits for that,
        before it returns, would wait for ever: its response is here.
        """
        if self._ending is not True:
            self._ending = self._ending or Ending()
            message = await self._ending.event_before(self._receive)
            if message is not None:
                return message
        if self._scope["type"] == "websocket":
            return {"type": "websocket.disconnect", "code": 1005, "reason": ""}
        return {"type": "http.disconnect"}

    async def settle(self, reason: str) -> None:
        """Flush, then send what was held. The application has returned or raised."""
        if self._timer is not None:
            self._timer.cancel()
        interruption = None
        if self._late is not None:
            interruption = await finished(self._late)
        # finish_shielded(), spelled out: this ends every request.
        if self._crossing.leave() and not nothing_pending():
            allowed, request_id = self._crossing.budget(reason), self._crossing.request_id
            interruption = await flush_shielded(allowed, reason, request_id) or interruption
        if reason == "response":
            await self._release()
            if interruption is not None:
                raise interruption
        else:
            with suppress(Exception):  # the application's own error is on its way out
                await self._release()

    async def _release(self) -> None:
        """Send what was held, in order, and hold nothing from now on."""
        events = self._events
        if events is not None:
            with suppress(OSError):  # the client has gone, and who would be told has returned
                while events:
                    await self._send(events.pop(0))
        self._events = None
        self._released = True

    def _set_timer(self) -> None:
        limit = max(0.0, budget(SETTLE_LIMIT, self._crossing.deadline))
        # A cancelled timer stays with the loop until its time: not with our context.
        self._timer = self._loop.call_later(limit, self._overdue, context=Context())

    def _overdue(self) -> None:
        self._late = self._loop.create_task(self._give_up())

    async def _give_up(self) -> None:
        """Let the response go although the application has not returned."""
        # Its application may go on for days, and meanwhile no other response would be the last.
        if self._crossing.count_out():
            allowed, request_id = self._crossing.budget("overdue"), self._crossing.request_id
            await flush_shielded(allowed, "overdue", request_id)
        with suppress(Exception):  # nobody awaits this task for its errors
            await self._release()

    def _starts(self, message: Message) -> bool:
        """Return whether the headers in ``message`` let the client stop reading."""
        self._trailers = bool(message.get("trailers"))
        self._completion = Completion()
        return self._completion.at_headers(
            self._scope["method"], message["status"], message["headers"], b"content-length"
        )

    def _ends(self, kind: str, message: Message) -> bool:
        """Return whether ASGI allows no event after ``message``, which is no body."""
        if kind == "http.response.zerocopysend":
            return not (message.get("more_body") or self._trailers)
        if kind == "http.response.trailers":
            return not message.get("more_trailers")
        if kind == "http.response.pathsend":
            return not self._trailers
        if kind == "websocket.http.response.body":
            return not message.get("more_body")
        return bool(kind == "websocket.close")
