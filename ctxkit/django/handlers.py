"""The boundary around Django's own handlers, outside everything that wraps them.

``MIDDLEWARE`` cannot hold a response for its telemetry: OpenTelemetry's middleware puts
itself in front of every other one, and Sentry wraps ``WSGIHandler.__call__`` and
``ASGIHandler.__call__`` on their classes. So the one handler that is being built gets a
class of its own. Its ``__call__`` goes before whatever the class above has at the time of
the call, no matter when that was patched.
"""

from __future__ import annotations

import sys
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler

from ctxkit.boundary import cross_asgi, cross_wsgi
from ctxkit.django import conf
from ctxkit.django.holders import HOLDER, UserHolder, frame_values
from ctxkit.django.intercepting import aanswer, answer, response_to

if TYPE_CHECKING:
    from contextvars import Context
    from types import FrameType
    from wsgiref.types import StartResponse, WSGIEnvironment

    from django.http import HttpRequest

    from ctxkit.boundary._asgi_types import Receive, Scope, Send


class _Answering(BaseHandler):
    """Answer errors of ours that a view has raised."""

    def process_exception_by_middleware(self, exception: Exception, request: Any) -> Any:
        found: Any = super().process_exception_by_middleware(exception, request)
        return found or response_to(exception)


class _WSGICrossing(_Answering, WSGIHandler):
    ctxkit_baseline: Context

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        holder = environ[HOLDER] = UserHolder()
        return cross_wsgi(
            super().__call__,
            environ,
            start_response,
            conf.options(),
            frame_values(holder),
            baseline=self.ctxkit_baseline,
        )

    def get_response(self, request: HttpRequest) -> Any:
        # Taken out: the request would hold itself, and wait for the garbage collector.
        holder = request.META.pop(HOLDER, None)
        if holder is not None:
            holder.request = request
        return answer(super().get_response, request)


class _ASGICrossing(_Answering, ASGIHandler):
    ctxkit_baseline: Context

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan" and _is_stock(type(self)):
            await cross_asgi(_lifespan, scope, receive, send, conf.options())
            return
        holder = scope[HOLDER] = UserHolder()
        app: Any = super().__call__
        await cross_asgi(
            app,
            scope,
            receive,
            send,
            conf.options(),
            frame_values(holder),
            baseline=self.ctxkit_baseline,
        )

    # No coroutine of our own: Django's is returned as it is.
    def get_response_async(self, request: Any) -> Any:
        holder = request.scope.pop(HOLDER, None)
        if holder is not None:
            holder.request = request
        return aanswer(super().get_response_async, request)


async def _lifespan(_: Scope, receive: Receive, send: Send) -> None:
    """Speak ASGI's lifespan protocol, which Django refuses.

    Servers that end without ``atexit`` (uvicorn) announce their end in it, and nowhere else.
    """
    while True:
        event = (await receive())["type"]
        await send({"type": f"{event}.complete"})
        if event == "lifespan.shutdown":
            return


def _is_stock(kind: type) -> bool:
    """Return whether it is Django's own ``__call__`` that ours goes before."""
    above = kind.__mro__[kind.__mro__.index(_ASGICrossing) + 1 :]
    return next(each for each in above if "__call__" in vars(each)) is ASGIHandler


_CROSSINGS: dict[type, type] = {WSGIHandler: _WSGICrossing, ASGIHandler: _ASGICrossing}


def cross_handler(handler: BaseHandler) -> bool:
    """Put the boundary around ``handler`` itself; its class stays as it is.

    Nothing happens to a handler that is crossed already, nor to one that serves neither
    WSGI nor ASGI (the test client's).

    Returns:
        Whether there is a boundary around it now.
    """
    kind: type = type(handler)
    crossed = _crossed(kind)
    if crossed is None:
        return isinstance(handler, tuple(_CROSSINGS.values()))
    handler.__class__ = crossed
    vars(handler)["ctxkit_baseline"] = copy_context()
    return True


@cache
def _crossed(kind: type) -> Any:
    """Return the class that crosses around ``kind``; None where there is nothing to do."""
    for stock, crossing in _CROSSINGS.items():
        if issubclass(kind, stock):
            # Django's signals name the handler's class as their sender, and so do we.
            alias = {"__class__": property(lambda _: kind)}
            done = issubclass(kind, crossing)
            return None if done else type(kind.__name__, (crossing, kind), alias)
    return None


def handler_being_built() -> BaseHandler | None:
    """Return the handler whose ``load_middleware`` is calling us, or None."""
    # Django hands a middleware no handler; nothing public leads to it.
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_code.co_name == "load_middleware":
            handler = frame.f_locals.get("self")
            if isinstance(handler, BaseHandler):
                return handler
        frame = frame.f_back
    return None
