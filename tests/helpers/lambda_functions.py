"""Functions for a Lambda host to run, with the SDKs set up as the environment says."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time
from typing import Any

import sentry_sdk
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ctxkit

SETUP = os.environ.get("FUNCTION_SETUP", "").split()
SDK = {"auto_enabling_integrations": False}

if "sentry" in SETUP:  # its own integration, which wraps the handler and drains by itself
    from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

    SDK = {"integrations": [AwsLambdaIntegration()], "traces_sample_rate": 1.0}

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], **SDK)
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("function")

if "taken" in SETUP:  # somebody else has registered by the same name
    from ctxkit.aws_lambda._extensions_api import ExtensionsApi

    other = ExtensionsApi(os.environ["AWS_LAMBDA_RUNTIME_API"])
    other.register()

    def live() -> None:
        while True:
            other.next()

    threading.Thread(target=live, daemon=True).start()

if "sigterm" in SETUP:
    from ctxkit import aws_lambda
    from ctxkit.lifecycle import on_shutdown

    aws_lambda.install("extension", sigterm=True)
    on_shutdown(lambda: sentry_sdk.capture_message("parting"))


def extension_thread() -> threading.Thread:
    [thread] = [t for t in threading.enumerate() if t.name == "ctxkit.lambda.extension"]
    return thread


def kill_extension(*, for_good: bool) -> None:
    """End the extension's thread at its next step; maybe let no thread start any more."""
    if for_good:

        def refuse(thread: threading.Thread) -> None:
            if thread.name == "ctxkit.lambda.extension":
                raise RuntimeError("can't start new thread")
            start(thread)

        start = threading.Thread.start
        threading.Thread.start = refuse  # type: ignore[method-assign,assignment]
    ident = ctypes.c_ulong(extension_thread().ident or 0)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))


def hold_extension_up() -> None:
    """Have its next flush never come back, once."""
    from ctxkit.aws_lambda import _extension  # noqa: PLC0415 - only in this mode

    flush = _extension.flush

    def hang(*args: Any, **kwargs: Any) -> Any:
        _extension.flush = flush  # type: ignore[attr-defined]
        time.sleep(60)

    _extension.flush = hang  # type: ignore[attr-defined]


def plain(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record a span and an event that have the number of the invocation for their name."""
    with tracer.start_as_current_span(f"span {event['n']}"):
        sentry_sdk.capture_message(f"event {event['n']}")
    if event.get("raise"):
        raise ValueError(event["raise"])
    if event.get("exit"):
        raise SystemExit(3)
    if "kill" in event:
        kill_extension(for_good=event["kill"] == "for good")
    if event.get("hold"):
        hold_extension_up()
    time.sleep(event.get("sleep", 0))
    return {
        "pid": os.getpid(),
        "id": ctxkit.get("request_id", None),
        "threads": sum(t.name == "ctxkit.lambda.extension" for t in threading.enumerate()),
    }


handler = ctxkit.flush_before_return(plain)


@ctxkit.flush_before_return
async def coroutine(event: dict[str, Any], context: Any) -> dict[str, Any]:
    await asyncio.sleep(0.01)
    return {**plain(event, context), "loop": id(asyncio.get_running_loop())}


def calls_coroutine(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return asyncio.run(coroutine(event, context))


wrapped = handler
if "powertools" in SETUP:
    from aws_lambda_powertools import Logger

    wrapped = Logger(service="shop").inject_lambda_context(wrapped)
if "opentelemetry" in SETUP:
    from opentelemetry.instrumentation.aws_lambda import AwsLambdaInstrumentor

    AwsLambdaInstrumentor().instrument()


def _web() -> Any:
    from mangum import Mangum  # noqa: PLC0415 - only where it is served
    from starlette.applications import Starlette  # noqa: PLC0415 - likewise
    from starlette.responses import PlainTextResponse  # noqa: PLC0415 - likewise
    from starlette.routing import Route  # noqa: PLC0415 - likewise

    def home(request: Any) -> Any:
        plain({"n": request.query_params["n"]}, None)
        return PlainTextResponse(str(os.getpid()))

    return Mangum(ctxkit.ASGIMiddleware(Starlette(routes=[Route("/", home)])))


if "web" in SETUP:
    web = _web()
