"""What the hosts of the fault matrix run: real SDKs, set up anew for each case.

``setup`` makes a new Sentry client and new OpenTelemetry providers, so that no case finds
what the one before it has left: threads that hang, connections, a breaker that is open.
Anything else is an order, of which every SDK records something under that name. What ctxkit
reports is appended to the file in ``FAULT_REPORTS``, one line of JSON each.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opentelemetry._logs
import opentelemetry.metrics._internal
import opentelemetry.trace
import sentry_sdk
from helpers.land_opentelemetry import OTel

import ctxkit
from ctxkit.flushing import FlushReport, on_report

if TYPE_CHECKING:
    from collections.abc import Iterable

EXPORT_TIMEOUT = 5.0  # seconds; longer than any budget
REPORTS = Path(os.environ["FAULT_REPORTS"])
_in_charge: list[OTel] = []

# That a sink is out of order is what all this is about.
logging.disable(logging.CRITICAL)


def set_up() -> None:
    sentry_sdk.init(default_integrations=False)  # SENTRY_DSN says where to
    otel = OTel(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], EXPORT_TIMEOUT)
    # The public setters work once in the life of a process.
    opentelemetry.trace._TRACER_PROVIDER = otel.tracers
    opentelemetry.metrics._internal._METER_PROVIDER = otel.meters
    opentelemetry._logs._internal._LOGGER_PROVIDER = otel.loggers
    _in_charge.append(otel)  # those before it may have threads that still use them


def record(name: str) -> None:
    otel = _in_charge[-1]
    sentry_sdk.capture_message(name)
    otel.tracers.get_tracer("shop").start_span(name).end()
    otel.log_handler.emit(logging.makeLogRecord({"msg": name, "levelno": logging.INFO}))
    otel.counter.add(1, {"order": name})


def serve(name: str) -> None:
    if name == "setup":
        set_up()
    else:
        record(name)


def note(report: FlushReport) -> None:
    line = {
        "time": time.time(),
        "results": {result.sink: (result.status, result.detail) for result in report.results},
    }
    with REPORTS.open("a") as file:
        file.write(f"{json.dumps(line)}\n")


on_report(note)


def wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
    serve(environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    serve(scope["path"].strip("/"))
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


wsgi = ctxkit.WSGIMiddleware(wsgi_app)
asgi = ctxkit.ASGIMiddleware(asgi_app)


@ctxkit.flush_before_return
def handler(event: Any, context: Any) -> Any:
    serve(event["rawPath"].strip("/"))
    return {"statusCode": 200, "body": "ok"}
