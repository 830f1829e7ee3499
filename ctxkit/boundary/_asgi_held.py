"""Holding the end of an ASGI response. Apart, since it needs asyncio, which nothing else does."""

from __future__ import annotations

from asyncio import (
    CancelledError,
    _get_running_loop,  # pyright: ignore[reportPrivateUsage] - documented: for frameworks
    get_running_loop,
)
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Final, final

from ctxkit.boundary._driving import drive, drive_on, first_step
from ctxkit.boundary._ending import Ending
from ctxkit.boundary._server_timing import server_timing
from ctxkit.boundary._shielded import finish_shielded, finished, flush_shielded
from ctxkit.boundary._stamping import WITH_HEADERS, add_stamp, stamping
from ctxkit.boundary.completion import has_no_content
from ctxkit.boundary.invocations import budget
from ctxkit.flushing import nudge
from ctxkit.flushing.engine import nothing_pending
from ctxkit.lifecycle._survivors import may_have_survivors

if TYPE_CHECKING:
    from asyncio import Task, TimerHandle
    from collections.abc import Awaitable

    from ctxkit.boundary._asgi_types import ASGIApp, Message, Receive, Scope, Send
    from ctxkit.boundary.crossing import Crossing
    from ctxkit.flushing import FlushReport

#: The longest that an application may go on after it completed its response, in seconds.
SETTLE_LIMIT: Final = 10.0

_SIZE: Final = len(b"content-length")
_OK: Final = 200

# What only names a file: the application may delete or close it when it believes it sent.
_BY_REFERENCE: Final = frozenset(("http.response.pathsend", "http.response.zerocopysend"))


async def cross_held(  # noqa: C901, PLR0913, PLR0917 - ASGI's own three, and ours
    crossing: Crossing,
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    stamp: tuple[bytes, bytes] | None,
) -> None:
    """Run ``app`` and let its response end only when its telemetry has landed.

    Args:
        crossing: The crossing.
        app: The application.
        scope: The connection's.
        receive: The server's.
        send: The server's.
        stamp: The header field with the request's id; None for none.
    """
    if _get_running_loop() is None:
        send = send if stamp is None else stamping(send, stamp)
        await _cross_unheld(crossing, app, scope, receive, send)
        return
    held = _Held(crossing, scope, receive, send, stamp)
    try:
        begun = crossing.context.run(
            first_step, crossing.frame, app, scope, held.receive, held.send
        )
        if begun is not None:
            await drive_on(crossing, begun, held)
    except GeneratorExit:
        # Closed from outside, by a loop that ends: awaiting is not possible any more.
        crossing.finish("dropped")
        raise
    except BaseException as error:
        await held.settle("cancelled" if isinstance(error, CancelledError) else "exception")
        raise
    if held.timer is not None or may_have_survivors(crossing):
        await held.settle("response")
        return
    # The rest of it, spelled out: this ends every request.
    interruption = None
    try:
        if crossing.count_out() and not nothing_pending():
            interruption = await held.flush("response")
    finally:
        crossing.close()
    events = held.events
    if events is not None and len(events) == 1 and held.start is None:
        try:
            await send(events.pop())
        except OSError:
            events.clear()
    if events or held.start is not None:
        await held.release()
    else:
        held.events = None
        held.released = True
    if interruption is not None:
        raise interruption


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
        "_crossing",
        "_ending",
        "_late",
        "_left",
        "_method",
        "_receive",
        "_send",
        "_stamp",
        "_tells",
        "_trailers",
        "away",
        "events",
        "released",
        "start",
        "timer",
        "watching",
    )

    def __init__(
        self,
        crossing: Crossing,
        scope: Scope,
        receive: Receive,
        send: Send,
        stamp: tuple[bytes, bytes] | None,
    ) -> None:
        self._crossing = crossing
        self._stamp = stamp
        self._method: str | None = scope["method"] if scope["type"] == "http" else None
        self._receive = receive
        self._send = send
        # Content still to come until the client is satisfied; None: only the end tells.
        self._left: int | None = None
        self._trailers = False
        # From the event on that completes the response for the client.
        self.events: list[Message] | None = None
        self.released = False
        # The start of a response that may be complete with the next event.
        self.start: Message | None = None
        self._tells = crossing.options.server_timing
        # Of the application's last event, which may be later; made when it is asked for.
        self._ending: Ending | bool = False
        # Whether the application may go on although its response is complete.
        self.watching = False
        # Whether it is suspended right now: then another task sends.
        self.away = False
        # What runs as long as it goes on.
        self.timer: TimerHandle | None = None
        self._late: Task[None] | None = None
        extensions = scope.get("extensions")
        if extensions and not _BY_REFERENCE.isdisjoint(extensions):
            scope["extensions"] = {
                name: extensions[name] for name in extensions if name not in _BY_REFERENCE
            }

    def suspended(self) -> None:
        """Mind that the application goes on after its response. See :func:`drive`."""
        self.watching = False
        limit = max(0.0, budget(SETTLE_LIMIT, self._crossing.deadline))
        # A cancelled timer stays with the loop until its time: not with our context.
        self.timer = get_running_loop().call_later(limit, self._overdue, context=Context())

    def send(  # noqa: C901, PLR0912 - each call would cost every request
        self, message: Message
    ) -> Awaitable[None]:
        """Pass on what does not complete the response; hold that and what follows."""
        kind = message["type"]
        completes = False
        if kind == "http.response.body":
            ends = not (message.get("more_body") or self._trailers)
            left = self._left
            if left is not None:
                # Completion.at_part(), spelled out, as this ends every request.
                self._left = left = left - len(message.get("body") or b"")
                completes = left <= 0
        elif kind == "http.response.start":
            message, ends = self._begun(message), False
            completes = self._left == 0
            if not completes and not self._tells and self.events is None:
                nudge()
                return self._send(message)
        elif kind in WITH_HEADERS:
            message, ends = self._stamped(message), False
        else:
            ends = self._ends(kind, message)
        if self.events is not None:
            self.events.append(message)
        elif (completes or ends) and not self.released:
            start, self.start = self.start, None
            self.events = [message] if start is None else [start, message]
            # Most applications return in the step in which they complete their response, and
            # a timer costs more than all else here.
            self.watching = True
            if self.away:
                self.suspended()
        elif self._tells:
            return self._pass(message)
        else:
            nudge()
            return self._send(message)
        if ends:
            ending, self._ending = self._ending, True
            if ending and ending is not True:
                ending.reach()
        return _sent()

    def _pass(self, message: Message) -> Awaitable[None]:
        """Let an event go that does not complete the response, which might tell of its flush."""
        nudge()
        start, self.start = self.start, None
        if start is not None:
            return _both(self._send, start, message)
        if self._left and message["type"] == "http.response.start":
            # For a moment: what follows may complete it, and then this can still be amended.
            self.start = message
            return _sent()
        return self._send(message)

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
        if self._method is None:
            return {"type": "websocket.disconnect", "code": 1005, "reason": ""}
        return {"type": "http.disconnect"}

    async def settle(self, reason: str) -> None:
        """Flush, then send what was held. The application has returned or raised."""
        self.watching = False
        if self.timer is not None:
            self.timer.cancel()
        interruption = None
        if self._late is not None:
            interruption = await finished(self._late)
        heard = self._amend if self._tells else None
        interruption = await finish_shielded(self._crossing, reason, heard) or interruption
        try:
            await self.release()
        except Exception:
            if reason == "response":
                raise
            # Otherwise the application's own error is on its way out.
        if interruption is not None and reason == "response":
            raise interruption

    async def flush(self, reason: str) -> CancelledError | None:
        """Have what was recorded land; return what interrupted the waiting."""
        crossing = self._crossing
        heard = self._amend if self._tells else None
        return await flush_shielded(crossing.budget(reason), reason, crossing.request_id, heard)

    def _amend(self, report: FlushReport) -> None:
        """Tell of the flush in a header section that has not left yet."""
        field = server_timing(report)
        for event in self.events or ():
            if field and event["type"] == "http.response.start":
                event["headers"].append((b"server-timing", field.encode()))

    async def release(self) -> None:
        """Send what was held, in order, and hold nothing from now on."""
        events = self.events
        if self.start is not None:
            events, self.start = [self.start], None
        if events is not None:
            try:
                while events:
                    await self._send(events.pop(0))
            except OSError:
                pass  # the client has gone, and who would be told has returned
        self.events = None
        self.released = True

    def _overdue(self) -> None:
        self._late = get_running_loop().create_task(self._give_up())

    async def _give_up(self) -> None:
        """Let the response go although the application has not returned."""
        # Its application may go on for days, and meanwhile no other response would be the last.
        if self._crossing.count_out():
            await self.flush("overdue")
        with suppress(Exception):  # nobody awaits this task for its errors
            await self.release()

    def _begun(self, message: Message) -> Message:
        """Note what the header section announces; return a copy with the id of the request."""
        if "trailers" in message:
            self._trailers = bool(message["trailers"])
        message = {**message}
        headers: list[tuple[bytes, bytes]]
        # They may be an iterator (Sanic's are), and are looked at before they leave.
        message["headers"] = headers = [*(message.get("headers") or ())]
        # What add_stamp() and announced_length() do, in one go, and has_no_content().
        left, stamp = None, self._stamp
        name = b"" if stamp is None else stamp[0]
        size = len(name)
        for field, value in headers:
            found = len(field)
            if found == size and field.lower() == name:
                stamp = None
            if found == _SIZE and field.lower() == b"content-length" and value.isdigit():
                shown = int(value)
                left = shown if left is None or shown < left else left
        if stamp is not None:
            headers.append(stamp)
        status = message["status"]
        if self._method == "HEAD" or (status != _OK and has_no_content("", status)):
            left = 0
        self._left = left
        return message

    def _stamped(self, message: Message) -> Message:
        """Return a copy of ``message``, with the id of the request."""
        headers: list[tuple[bytes, bytes]] = [*(message.get("headers") or ())]
        if self._stamp is not None:
            add_stamp(headers, self._stamp)
        message = {**message}
        message["headers"] = headers
        return message

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


async def _both(send: Send, first: Message, second: Message) -> None:
    await send(first)
    await send(second)


async def _sent() -> None:
    """Stand for what the server would do: nothing yet."""
