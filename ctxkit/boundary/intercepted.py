"""Interceptors around requests: those of the kind ``"http"``, over WSGI and ASGI."""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxkit.boundary.intercepting import CHAIN, Call, arun, run
from ctxkit.context import current
from ctxkit.exceptions import CtxkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ctxkit.boundary._asgi_types import ASGIApp, Message, Receive, Scope, Send
    from ctxkit.boundary.intercepting import Interceptor

#: Where an environ or a scope says that its interceptors were run, by a boundary further out.
INTERCEPTED: Final = "ctxkit.intercepted"
# Those of RFC 9110, PATCH of RFC 5789, and QUERY.
_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)


class Refusal(NamedTuple):
    """Be the response that stands for an error of ours.

    Attributes:
        status: The status code: that of the error.
        headers: The header fields.
        body: What to show.
    """

    status: int
    headers: dict[str, str]
    body: bytes


def refusal_of(error: BaseException) -> Refusal | None:
    """Return the response that stands for ``error``; None for those that are not of ours.

    An error that says ``retry_after`` says so in the response (RFC 9110, section 10.2.3).
    """
    status = getattr(error, "http_status", None)
    if not isinstance(error, CtxkitError) or not isinstance(status, int):
        return None
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    logging.getLogger("ctxkit").warning("ctxkit.request.refused: %s %s", status, error)
    # No more than the name of the status: the sentence of the error is for its operators.
    body = f"{status} {phrase_of(status)}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    seconds = getattr(error, "retry_after", None)
    if seconds is not None:
        headers["Retry-After"] = str(max(1, round(seconds)))
    return Refusal(status, headers, body)


def phrase_of(status: int) -> str:
    """Return what HTTP calls a status; an error of a user's own may have any."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def request_chain(carrier: dict[str, Any] | Any) -> tuple[Interceptor, ...]:
    """Return the interceptors that are to be put around a request, once.

    Args:
        carrier: The environ or the scope. Gets the word that they were.
    """
    chain = CHAIN.of("http")
    if not chain or INTERCEPTED in carrier:
        return ()
    carrier[INTERCEPTED] = True
    return chain


def request_call(method: str, args: tuple[Any, ...], *, asynchronous: bool) -> Call:
    """Return what interceptors are told of a request.

    Its name is the same for all of a method: names are for metrics, and a path is anything. The
    frame tells it, and the route. So may be a method: what nobody has heard of is ``_OTHER``.
    """
    if method not in _METHODS:
        method = "_OTHER"
    return Call(f"http {method}", "http", args, {}, frame=current(), asynchronous=asynchronous)


def intercepted_wsgi(
    chain: tuple[Interceptor, ...],
    app: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    """Call a WSGI application through ``chain``; its body is iterated outside of that."""
    call = request_call(environ["REQUEST_METHOD"], (environ, start_response), asynchronous=False)
    try:
        return run(chain, call, lambda call: app(*call.args))  # type: ignore[no-any-return]
    except CtxkitError as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        # Raises what came, where the headers have left (PEP 3333).
        status = f"{refusal.status} {phrase_of(refusal.status)}"
        start_response(status, [*refusal.headers.items()], sys.exc_info())
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else refusal.body]


async def intercepted_asgi(
    chain: tuple[Interceptor, ...], app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Await an ASGI application through ``chain``."""
    started = False

    async def noting(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    async def body(call: Call) -> None:
        await app(*call.args)

    call = request_call(scope["method"], (scope, receive, noting), asynchronous=True)
    try:
        await arun(chain, call, body)
    except CtxkitError as error:
        refusal = refusal_of(error)
        if refusal is None or started:
            raise
        headers = [(n.lower().encode(), v.encode()) for n, v in refusal.headers.items()]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": refusal.body})


def wrapped_wsgi(app: WSGIApplication) -> Callable[..., Any]:
    """Return ``app`` with the interceptors of the moment around each request."""

    def crossed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        chain = request_chain(environ)
        if not chain:
            return app(environ, start_response)
        return intercepted_wsgi(chain, app, environ, start_response)

    return crossed


def wrapped_asgi(app: ASGIApp) -> ASGIApp:
    """Return ``app`` with the interceptors of the moment around each request."""

    async def crossed(scope: Scope, receive: Receive, send: Send) -> None:
        chain = request_chain(scope) if scope["type"] == "http" else ()
        if chain:
            await intercepted_asgi(chain, app, scope, receive, send)
        else:
            await app(scope, receive, send)

    return crossed
