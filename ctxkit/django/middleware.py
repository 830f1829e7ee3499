"""The line in ``MIDDLEWARE``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.exceptions import MiddlewareNotUsed

from ctxkit.boundary import CROSSING
from ctxkit.boundary.crossing import opened
from ctxkit.boundary.hosting import meet_host
from ctxkit.context.stepping import aiterate_in, iterate_in, run_coroutine_in
from ctxkit.django import conf
from ctxkit.django.handlers import cross_handler, handler_being_built
from ctxkit.django.holders import UserHolder, frame_values
from ctxkit.django.intercepting import aanswer, answer, response_to

if sys.version_info >= (3, 12):
    from inspect import iscoroutinefunction, markcoroutinefunction
else:
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ctxkit.boundary import Crossing


class ContextMiddleware:
    """Give each request its frame, and hold its response until its telemetry landed.

    ``MIDDLEWARE = ["ctxkit.django.ContextMiddleware", ...]`` is all there is to do, under
    WSGI and under ASGI.

    When Django builds a handler from ``MIDDLEWARE``, this puts the boundary around that
    whole handler: around every middleware, the sending of the response and its closing,
    and around what Sentry and OpenTelemetry wrapped, before or after. That done, it is
    not in the chain of middlewares: a request does not pass it, and wherever it stands in
    the list, all of them see the same. Inside, ``ctxkit.get("request_id")``, ``"method"``,
    ``"path"``, ``"protocol"``, ``"route"``, ``"request"`` and ``"user"`` (a
    :class:`~ctxkit.django.UserHolder`, also bound as ``"actor"``) say what is known.

    Args:
        get_response: The next middleware, as Django gives it.

    Raises:
        ConfigurationError: ``CTXKIT``, or an environment variable, cannot be used.
        AdoptionError: ``CTXKIT["ADOPT"]`` names what cannot be adopted.
        MiddlewareNotUsed: The boundary is around the handler; Django expects this.

    Context:
        The frame lives until the body was sent and the response was closed. Where no
        server runs (``django.test.Client``) there is no boundary: the frame is opened
        here, streaming bodies keep it, nothing is flushed, and what the request set is
        gone when the client returns.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        conf.options()
        conf.require_app()
        meet_host()
        conf.adopt_declared()
        conf.install_declared()
        conf.spool_declared()
        conf.authorize_users()
        conf.configure_declared()
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
        handler = handler_being_built()
        crossed = handler is not None and cross_handler(handler)
        if crossed and type(self) is ContextMiddleware:  # a subclass has more to do
            raise MiddlewareNotUsed("the boundary around the handler does its work")

    def __call__(self, request: HttpRequest) -> Any:
        """Answer a request that came by no server: a response, or an awaitable of one."""
        outer = getattr(request, "scope", request.META).get(CROSSING)
        if outer is not None and outer.open:
            return self.get_response(request)
        return self._aalone(request) if self._is_async else self._alone(request)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> Any:
        """Return the response that stands for an error of ours that a view has raised."""
        return response_to(exception)

    def _alone(self, request: HttpRequest) -> HttpResponseBase:
        """Answer without a boundary around us."""
        crossing = _opened(request)
        try:
            response = crossing.context.run(answer, self.get_response, request)
            return _finished(response, crossing)
        finally:
            crossing.leave()

    async def _aalone(self, request: HttpRequest) -> HttpResponseBase:
        crossing = _opened(request)
        dropped = False
        try:
            steps = crossing.context.run(aanswer, self.get_response, request)
            return _finished(await run_coroutine_in(crossing.context, steps), crossing)
        except GeneratorExit:
            dropped = True  # closed from outside: nothing can be awaited any more
            raise
        finally:
            try:
                if crossing.frame.lifetime is not None and not dropped:
                    await crossing.aend_lifetime()
            finally:
                crossing.leave()


def _opened(request: HttpRequest) -> Crossing:
    """Open the crossing that the handler would have opened for this request."""
    options = conf.options()
    known: dict[str, object] = {
        "method": request.method,
        "path": request.path,
        "protocol": "http",
    }
    crossing = opened(request.META, options, known, frame_values(UserHolder(request)), None)
    crossing.enter()
    # For RequestIdFilter: Django logs a 404 when the middlewares are through.
    request.META[CROSSING] = crossing
    return crossing


def _finished(response: HttpResponseBase, crossing: Crossing) -> HttpResponseBase:
    """Put the request's id on ``response``, and keep its body in the frame."""
    header = crossing.options.request_id_header
    if header is not None:
        response.headers.setdefault(header, crossing.request_id)
    if response.streaming:
        streaming: Any = response
        step: Any = aiterate_in if streaming.is_async else iterate_in
        streaming.streaming_content = step(crossing.context, streaming.streaming_content)
    return response
