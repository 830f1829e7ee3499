"""The boundary of an ASGI application (ASGI 3.0)."""

from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ctxkit.boundary._driving import drive
from ctxkit.boundary._stamping import stamping
from ctxkit.boundary.crossing import CROSSING, Crossing, choose_id, lay_over
from ctxkit.boundary.hosting import HOST, meet_host
from ctxkit.boundary.intercepting import CHAIN
from ctxkit.boundary.options import BoundaryOptions
from ctxkit.boundary.request_id import LONGEST
from ctxkit.flushing import aflush
from ctxkit.flushing.budget import ASGI_CONTEXT_KEY
from ctxkit.lifecycle import begin_lifespan, end_lifespan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from contextvars import Context

    from ctxkit.boundary._asgi_types import ASGIApp, Message, Receive, Scope, Send


class ASGIMiddleware:
    """Cross the boundary with each request of an ASGI application.

    Gives the request a frame and a context of its own, takes its id in and sends it out,
    and, where the host calls for it, holds the response until its telemetry has landed.

    What is held is the event that completes the response for the client, and nothing else:
    the body that fills the Content-Length, the last body, trailers or path where that comes
    first, or the start of a response that has no content. Events before it pass at once. It
    is held until the application has returned, background tasks included, and the flush is
    over; at most 10 s for an application that does not return.

    At the server's shutdown (``lifespan``) everything is flushed.

    Args:
        app: The application to wrap.
        mode: ``"auto"``, ``"always"``, ``"idle"`` or ``"never"``; None reads
            ``CTXKIT_FLUSH_MODE``.
        timeout: The longest that a flush holds a response, in seconds; None reads
            ``CTXKIT_FLUSH_TIMEOUT``, else 2.0.
        request_id_header: The header that brings the request's id and takes it back; None
            for none.
        trust_request_id: Whether a well-formed inbound id is taken over.
        trust_context: Whether the context that the caller sent is taken in, see
            :func:`ctxkit.extract`. Only where nobody but your own services can call.
        report_leaks: Whether to log what still holds a request some time after its end, for
            development and staging; None reads ``CTXKIT_REPORT_LEAKS``, else no.
        server_timing: Whether to tell in a ``Server-Timing`` header how long each sink held
            the response. Only where the headers have not left before: on a response
            that is complete with its headers, or with a first body that fills the
            ``Content-Length``, whose headers wait for it.
        leftovers: What becomes of tasks, threads, timers and jobs that a request has started
            and that are alive at its end: ``"warn"``, ``"await"``, ``"cancel"`` or
            ``"ignore"``; None reads ``CTXKIT_LEFTOVERS``, else warns where responses are
            held, and ignores them elsewhere.

    Raises:
        ConfigurationError: A value cannot be used.

    Safety:
        Needs asyncio (or uvloop) to hold a response; under trio none is held.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        app: ASGIApp,
        *,
        mode: str | None = None,
        timeout: float | None = None,
        request_id_header: str | None = "X-Request-ID",
        trust_request_id: bool = True,
        trust_context: bool = False,
        report_leaks: bool | None = None,
        server_timing: bool = False,
        leftovers: str | None = None,
    ) -> None:
        self.app = app
        self.options: BoundaryOptions = BoundaryOptions.resolve(
            mode,
            timeout,
            request_id_header,
            trust_request_id=trust_request_id,
            trust_context=trust_context,
            report_leaks=report_leaks,
            server_timing=server_timing,
            leftovers=leftovers,
        )
        self._baseline = copy_context()
        meet_host()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one connection of the application."""
        app = intercepted(self.app) if CHAIN.all else self.app
        await cross_asgi(app, scope, receive, send, self.options, baseline=self._baseline)


def intercepted(app: ASGIApp) -> ASGIApp:
    """Return ``app`` with the interceptors of requests around it."""
    from ctxkit.boundary.intercepted import wrapped_asgi  # noqa: PLC0415 - few put any on

    return wrapped_asgi(app)


def cross_asgi(  # noqa: PLR0913, PLR0917 - ASGI's own three, and ours
    app: ASGIApp,
    scope: Scope,
    receive: Receive,
    send: Send,
    options: BoundaryOptions,
    values: Mapping[str, object] | None = None,
    *,
    baseline: Context | None = None,
) -> Awaitable[None]:
    """Run one connection of ``app`` as :class:`ASGIMiddleware` does.

    A boundary inside another one adds its ``values`` to the frame and passes through.

    Args:
        app: The application.
        scope: Gets the crossing under ``ctxkit.crossing``. Types other than "http",
            "websocket" and "lifespan" are passed on untouched.
        receive: The server's.
        send: The server's.
        options: What was chosen at this boundary.
        values: Further values for the frame.
        baseline: The context to run in where the current one is another request's; None
            for an empty one.
    """
    protocol = scope["type"]
    if protocol not in ("http", "websocket"):
        return app(scope, receive, _draining(send) if protocol == "lifespan" else send)
    outer = scope.get(CROSSING)
    if outer is not None and outer.open:
        lay_over(outer, values)
        return app(scope, receive, send)
    known: dict[str, object] = {"path": scope["path"], "protocol": protocol}
    if protocol == "http":
        known["method"] = scope["method"]
    wire_name = options.wire_name
    inbound = None
    if wire_name:
        for name, value in scope["headers"]:
            if name == wire_name:
                inbound = value
                break
    if (
        # Most are letters, digits and hyphens, and choose_id() takes thrice as long to tell.
        (inbound and options.trust_request_id and len(inbound) <= LONGEST)
        and not options.trust_context
        and inbound.replace(b"-", b"").isalnum()
    ):
        sent, request_id = inbound, inbound.decode()
    else:
        told = None if inbound is None else str(inbound, "latin-1")
        request_id = choose_id(scope, options, known, told)
        sent = request_id.encode()
    stamp = (wire_name, sent) if wire_name else None
    host = scope.get(ASGI_CONTEXT_KEY) if options.settles else None
    crossing = Crossing(scope, options, known, request_id, host, values, baseline)
    scope[CROSSING] = crossing
    if not options.settles:
        if stamp is not None:
            send = stamping(send, stamp)
        return drive(crossing, app, scope, receive, send)
    holding = _holding or _get_holding()
    held: Awaitable[None] = holding.cross_held(crossing, app, scope, receive, send, stamp)
    return held


# An import statement costs a request more than most of what it does.
_holding: Any = None


def _get_holding() -> Any:
    global _holding  # noqa: PLW0603 - as above
    from ctxkit.boundary import _asgi_held  # noqa: PLC0415 - brings asyncio

    _holding = _asgi_held
    return _asgi_held


def _host_takes_over() -> bool:
    return HOST.takes_over is not None and HOST.takes_over(None)


def _draining(send: Send) -> Send:
    """Return ``send`` with everything flushed before the server hears of the end."""

    async def drained(message: Message) -> None:
        # Mangum ends the lifespan within each invocation, whose flush may be somebody else's.
        if message["type"].startswith("lifespan.shutdown") and _host_takes_over():
            await send(message)
            return
        # uvicorn ends by signal, without running atexit: this is the last occasion.
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
            with suppress(RuntimeError):  # not under asyncio: then what is called next flushes
                await aflush(reason="shutdown")
            await end_lifespan()
        elif message["type"] == "lifespan.startup.complete":
            begin_lifespan()
        await send(message)

    return drained
