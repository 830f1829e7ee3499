"""Responses of every kind, each with all that real SDKs record for it: to be frozen, or ended.

Served with WSGI, ASGI, awslambdaric and Mangum. A path that begins with ``/never`` holds
nothing. What is expected of a request is told in frozen.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

import sentry_sdk
from helpers.served_sdks import OTelASGI, OTelWSGI, record, tracers
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

import ctxkit
from ctxkit.lifecycle import drain_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"abcd"
TEXT = ("Content-Type", "text/plain")
LENGTH = ("Content-Length", "4")
FILE = Path(__file__)
FILE_CONTENT = FILE.read_bytes()


class BrokenError(Exception):
    """What the application raises at ``/broken``."""


def wsgi_app(environ: Any, start_response: Any) -> Any:
    path = environ["PATH_INFO"].rpartition("/")[2]
    if path != "plain":
        record("begin")
    if path == "broken":
        raise BrokenError(path)
    if path == "crash":
        os.kill(os.getpid(), 9)
    if path == "empty":
        start_response("204 No Content", [])
        return ended([])
    if path == "file":
        start_response("200 OK", [TEXT, ("Content-Length", str(len(FILE_CONTENT)))])
        return environ.get("wsgi.file_wrapper", FileWrapper)(FILE.open("rb"), 8192)
    start_response("200 OK", [TEXT] if path == "chunked" else [TEXT, LENGTH])
    return [CONTENT] if path in ("list", "plain") else ended((CONTENT[:2], CONTENT[2:]))


def ended(parts: Any) -> Iterator[bytes]:
    yield from parts
    record("end")


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    path = scope["path"].rpartition("/")[2]
    while (await receive()).get("more_body"):
        pass
    if path != "plain":
        record("begin")
    if path == "broken":
        raise BrokenError(path)
    if path == "crash":
        os.kill(os.getpid(), 9)
    await respond(path, send)
    if path not in ("list", "plain", "file"):
        record("end")


async def respond(path: str, send: Any) -> None:
    headers = [] if path == "empty" else [(b"content-type", b"text/plain")]
    content = FILE_CONTENT if path == "file" else CONTENT
    if path not in ("empty", "chunked"):
        headers.append((b"content-length", str(len(content)).encode()))
    status = 204 if path == "empty" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path != "empty":
        middle = len(content) if path in ("list", "plain") else 2
        for part in (content[:middle], content[middle:]):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


@ctxkit.flush_before_return
def handler(event: Any, context: Any) -> Any:
    """Be a plain Lambda function, which is given the path as its event."""
    trace_id, span_id = event["trace_id"], event["trace_id"][:16]
    with (
        sentry_sdk.isolation_scope(),
        sentry_sdk.start_transaction(
            sentry_sdk.continue_trace({"sentry-trace": f"{trace_id}-{span_id}-1"}),
            op="function",
            name="handler",
        ),
        ctxkit.bind(request_id=event["request_id"]),
        _server_span(trace_id, span_id),
    ):
        record("begin")
        if event["path"] == "broken":
            raise BrokenError(event["path"])
        return CONTENT.decode()


def _server_span(trace_id: str, span_id: str) -> Any:
    """Continue a trace as an instrumentation does."""
    from opentelemetry import trace  # noqa: PLC0415 - of Lambda alone
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
        TraceContextTextMapPropagator,
    )

    context = TraceContextTextMapPropagator().extract(
        {"traceparent": f"00-{trace_id}-{span_id}-01"}
    )
    tracer = tracers.get_tracer("served")
    return tracer.start_as_current_span("GET", context, kind=trace.SpanKind.SERVER)


if "DRAIN_ON_SIGTERM" in os.environ:
    drain_on_sigterm()

_wrapped_wsgi = SentryWsgiMiddleware(OTelWSGI(wsgi_app))
_wrapped_asgi = SentryAsgiMiddleware(OTelASGI(asgi_app))
_wsgi = ctxkit.WSGIMiddleware(_wrapped_wsgi)
_passing_wsgi = ctxkit.WSGIMiddleware(_wrapped_wsgi, mode="never")
_asgi = ctxkit.ASGIMiddleware(_wrapped_asgi)
_passing_asgi = ctxkit.ASGIMiddleware(_wrapped_asgi, mode="never")


def wsgi(environ: Any, start_response: Any) -> Any:
    passing = environ["PATH_INFO"].startswith("/never/")
    return (_passing_wsgi if passing else _wsgi)(environ, start_response)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    passing = scope.get("path", "").startswith("/never/")
    await (_passing_asgi if passing else _asgi)(scope, receive, send)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    from mangum import Mangum

    mangum = Mangum(asgi)
