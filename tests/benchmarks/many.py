"""How many round trips it takes until what 16 requests record that end together has landed."""

from __future__ import annotations

from statistics import median
from threading import Barrier, Thread
from time import perf_counter
from typing import TYPE_CHECKING, Any

import opentelemetry.trace
import sentry_sdk
from measuring import Row
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import ctxkit
from ctxkit.contrib.opentelemetry import ConcurrentExporter
from ctxkit.contrib.sentry import ConcurrentTransport
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable

LATENCY = 0.05  # seconds
REQUESTS = 16


def measure(rounds: int) -> list[Row]:
    """Race the SDKs' own transport and exporter with the concurrent ones, and with one request."""
    with TelemetrySink(latency=LATENCY) as sink:
        url = f"{sink.otlp_endpoint}/v1/traces"
        contestants = {
            "one request, Sentry": _sentry(sink.dsn, None, requests=1),
            "Sentry": _sentry(sink.dsn, None),
            "Sentry, ConcurrentTransport": _sentry(sink.dsn, ConcurrentTransport),
            "OpenTelemetry": _opentelemetry(OTLPSpanExporter(url)),
            "OpenTelemetry, ConcurrentExporter": _opentelemetry(
                ConcurrentExporter(lambda: OTLPSpanExporter(url))
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(1 + max(3, rounds // 15)):
            for name, contestant in contestants.items():
                seconds = contestant()
                if number:  # the first opens the connections
                    times[name].append(seconds)
    table = f"{REQUESTS} requests end together, in round trips"
    return [
        Row(table, name, median(each), ratio=median(each) / LATENCY) for name, each in times.items()
    ]


def _sentry(dsn: str, transport: Any, *, requests: int = REQUESTS) -> Callable[[], float]:
    client = sentry_sdk.Client(
        dsn=dsn, transport=transport, traces_sample_rate=1.0, default_integrations=False
    )

    def request() -> None:
        with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="request"):
            pass
        assert ctxkit.flush(10).ok

    def contend() -> float:
        sentry_sdk.get_global_scope().set_client(client)
        try:
            return _at_once(request, requests)
        finally:
            sentry_sdk.get_global_scope().set_client(None)

    return contend


def _opentelemetry(exporter: Any) -> Callable[[], float]:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("many")

    def request() -> None:
        tracer.start_span("request").end()
        assert ctxkit.flush(10).ok

    def contend() -> float:
        opentelemetry.trace._TRACER_PROVIDER = provider
        try:
            return _at_once(request, REQUESTS)
        finally:
            opentelemetry.trace._TRACER_PROVIDER = None

    return contend


def _at_once(request: Callable[[], None], requests: int) -> float:
    """Return the seconds from when all of them begin to when the last has ended."""
    start = Barrier(requests + 1)

    def wait_and_do() -> None:
        start.wait()
        request()

    threads = [Thread(target=wait_and_do) for _ in range(requests)]
    for thread in threads:
        thread.start()
    start.wait()
    began = perf_counter()
    for thread in threads:
        thread.join()
    return perf_counter() - began
