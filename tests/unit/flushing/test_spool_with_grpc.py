from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("grpc")
pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")

import grpc
import opentelemetry.trace
from helpers.spooled import last_flush, results, spooling, status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ctxkit.flushing import flush, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """A collector over gRPC; ``fault`` is the code it answers with, if any."""

    def __init__(self) -> None:
        self.fault: Any = None
        self.spans: list[str] = []
        self.tenants: list[str] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the service's name for it
        if self.fault is not None:
            context.abort(self.fault, "as told")
        self.tenants += [value for key, value in context.invocation_metadata() if key == "tenant"]
        self.spans += [
            span.name
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return trace_service_pb2.ExportTraceServiceResponse()


@contextmanager
def listening(collector: Collector) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(5)


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def tracers(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TracerProvider]:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    with listening(collector) as port, spooling(tmp_path):
        exporter = OTLPSpanExporter(
            f"http://127.0.0.1:{port}", headers={"tenant": "shop"}, timeout=2
        )
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
        prepare()
        yield provider
        collector.fault = None
        provider.shutdown()
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


# Of the codes, those that neither version tries again by itself.
def test_span_that_could_not_be_sent_lands_once_when_the_collector_is_back(
    tracers: TracerProvider, collector: Collector
) -> None:
    collector.fault = grpc.StatusCode.PERMISSION_DENIED
    tracers.get_tracer("shop").start_span("dear").end()
    said = results(flush(20))["otel.traces"]
    assert said == "error: kept for later: OTLPSpanExporter answered FAILURE"
    collector.fault = None
    tracers.get_tracer("shop").start_span("fresh").end()
    assert results(flush(20))["otel.traces"] == "ok: 1 kept earlier and sent now"
    assert collector.spans == ["fresh", "dear"]
    assert collector.tenants == ["shop", "shop"]
    assert status().files == 0


@pytest.mark.parametrize(
    ("code", "after"),
    [("UNAVAILABLE", (1, 0)), ("INTERNAL", (1, 0)), ("INVALID_ARGUMENT", (0, 1))],
)
def test_kept_span_is_dropped_only_when_it_is_refused(
    code: str, after: tuple[int, int], tracers: TracerProvider, collector: Collector
) -> None:
    collector.fault = grpc.StatusCode.PERMISSION_DENIED
    tracers.get_tracer("shop").start_span("dear").end()
    flush(20)
    collector.fault = grpc.StatusCode[code]
    last_flush()
    assert (status().files, status().dropped) == after
