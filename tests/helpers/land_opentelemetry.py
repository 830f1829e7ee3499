"""OpenTelemetry for the tests of the flush engine."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import opentelemetry._logs._internal
import opentelemetry.metrics._internal
import opentelemetry.trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ctxkit.contrib.opentelemetry import ConcurrentExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


class OTel:
    """The three signals of OpenTelemetry, set up as its documentation says.

    Each exporter gives up after ``timeout`` seconds. With ``concurrent``, spans and log records
    are exported by several of them.
    """

    def __init__(self, endpoint: str, timeout: float, *, concurrent: bool = False) -> None:
        several: Any = ConcurrentExporter if concurrent else _one
        self.exporter = several(lambda: OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=timeout))
        self.span_processor = BatchSpanProcessor(self.exporter)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(self.span_processor)

        self.metric_reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=timeout)
        )
        self.meters = MeterProvider([self.metric_reader], shutdown_on_exit=False)
        self.counter = self.meters.get_meter("shop").create_counter("orders")

        self.log_processor = BatchLogRecordProcessor(
            several(lambda: OTLPLogExporter(f"{endpoint}/v1/logs", timeout=timeout))
        )
        self.loggers = LoggerProvider(shutdown_on_exit=False)
        self.loggers.add_log_record_processor(self.log_processor)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it moves to another package, slowly
            self.log_handler = LoggingHandler(logger_provider=self.loggers)

    def put_in_charge(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make these the global providers for the length of a test."""
        # The public setters work once in the life of a process.
        monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", self.tracers)
        monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", self.meters)
        monkeypatch.setattr(opentelemetry._logs._internal, "_LOGGER_PROVIDER", self.loggers)

    def record(self) -> None:
        """Record a span, a log record and a measurement."""
        with self.tracers.get_tracer("shop").start_as_current_span("order"):
            self.record_one("otel.log")
        self.counter.add(1)

    def record_one(self, kind: str) -> None:
        """Record what arrives as an item of this kind."""
        if kind == "otel.span":
            self.tracers.get_tracer("shop").start_span("order").end()
        else:
            record = logging.LogRecord("shop", logging.INFO, __file__, 1, "ordered", (), None)
            self.log_handler.emit(record)

    def shut_down(self) -> None:
        """End the providers' threads."""
        self.tracers.shutdown()
        self.meters.shutdown()
        self.loggers.shutdown()


def _one(factory: Callable[[], Any]) -> Any:
    return factory()


@contextmanager
def otel_set_up(
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    timeout: float = 1.0,
    concurrent: bool = False,
) -> Iterator[OTel]:
    """Put real providers in charge; shut them down afterwards."""
    otel = OTel(endpoint, timeout, concurrent=concurrent)
    otel.put_in_charge(monkeypatch)
    try:
        yield otel
    finally:
        otel.shut_down()
