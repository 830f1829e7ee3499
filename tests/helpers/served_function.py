"""A Cloud Run function with real SDKs, as functions-framework loads it."""

from __future__ import annotations

import os
import time
from typing import Any

import functions_framework
import opentelemetry.trace
import sentry_sdk
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ctxkit

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0)
_tracers = TracerProvider()
_exporter = OTLPSpanExporter(f"{os.environ['OTLP_ENDPOINT']}/v1/traces")
_tracers.add_span_processor(BatchSpanProcessor(_exporter))
opentelemetry.trace.set_tracer_provider(_tracers)


def record(request: Any) -> str:
    number = request.args["number"]
    with _tracers.get_tracer("served").start_as_current_span(f"span {number}"):
        sentry_sdk.capture_message(f"event {number}")
    time.sleep(float(request.args.get("seconds", "0")))
    return f"{number} done"


@functions_framework.http
def plain(request: Any) -> str:
    return record(request)


@functions_framework.http
@ctxkit.flush_before_return
def decorated(request: Any) -> str:
    return record(request)
