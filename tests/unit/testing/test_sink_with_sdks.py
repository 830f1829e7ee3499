"""The sink with the SDKs that it stands in for."""

from __future__ import annotations

from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from ctxkit.testing import TelemetrySink

sentry_sdk = pytest.importorskip("sentry_sdk")
pytest.importorskip("sentry_sdk.logger")  # newer than the oldest SDK that is supported
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from opentelemetry import trace  # noqa: E402
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: E402
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: E402
    OTLPMetricExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: E402
from opentelemetry.sdk._logs import LoggerProvider  # noqa: E402
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor  # noqa: E402
from opentelemetry.sdk.metrics import MeterProvider  # noqa: E402
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: E402
from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from sentry_sdk import logger, metrics  # noqa: E402


def test_sentry_sdk_event_transaction_log_and_metric_arrive_as_one_item_each() -> None:
    with TelemetrySink() as sink:
        client = sentry_sdk.Client(
            dsn=sink.dsn, traces_sample_rate=1.0, enable_logs=True, default_integrations=False
        )
        with sentry_sdk.isolation_scope() as scope:
            scope.set_client(client)
            with sentry_sdk.start_transaction(name="/shop") as transaction:
                sentry_sdk.capture_message("sold out")
                logger.info("cup sold")
                metrics.count("cups", 1)
            client.close(timeout=5)
        kinds = {item.kind: item for item in sink.items}
    assert {"sentry.event", "sentry.transaction", "sentry.log", "sentry.metric"} <= kinds.keys()
    assert kinds["sentry.transaction"].name == "/shop"
    assert kinds["sentry.event"].name == "sold out"
    assert kinds["sentry.log"].name == "cup sold"
    assert {item.trace_id for item in kinds.values()} <= {transaction.trace_id, None}
    assert kinds["sentry.log"].trace_id == transaction.trace_id


def test_otlp_exporters_span_log_and_data_points_arrive_as_one_item_each() -> None:
    with TelemetrySink() as sink:
        resource = Resource({"service.name": "shop"})
        url = sink.otlp_endpoint
        tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
        logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPLogExporter(f"{url}/v1/logs")
        logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/v1/metrics"))
        meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        counter = meters.get_meter("shop").create_counter("cups", unit="1")
        times = meters.get_meter("shop").create_histogram("wait")
        try:
            with tracing.get_tracer("shop").start_as_current_span(
                "brew", attributes={"beans": ["a", "b"]}
            ) as span:
                span.add_event("boiled", {"degrees": 80})
                counter.add(2, {"request": "r1"})
                counter.add(1, {"request": "r2"})
                times.record(0.5)
                logs.get_logger("shop").emit(body="brewed", severity_text="INFO")
                trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        finally:
            tracing.shutdown()
            logs.shutdown()
            meters.shutdown()
        [span_item] = sink.wait_for(lambda item: item.kind == "otel.span")
        [log_item] = sink.wait_for(lambda item: item.kind == "otel.log")
        points = sink.wait_for(lambda item: item.kind == "otel.metric" and item.name == "cups")
        [wait] = sink.wait_for(lambda item: item.name == "wait")
    assert (span_item.name, span_item.trace_id) == ("brew", trace_id)
    assert span_item.data["attributes"] == {"beans": ["a", "b"]}
    [event] = span_item.data["events"]
    assert (event["name"], event["attributes"]) == ("boiled", {"degrees": 80})
    assert span_item.data["start"] <= event["time"] <= span_item.data["end"]
    assert span_item.data["resource"]["service.name"] == "shop"
    assert span_item.data["start"] <= span_item.data["end"] <= span_item.acknowledged
    assert (log_item.name, log_item.trace_id) == ("brewed", trace_id)
    assert {point.data["attributes"]["request"]: point.data["value"] for point in points} == {
        "r1": 2,
        "r2": 1,
    }
    assert {point.trace_id for point in points} <= {trace_id, None}
    assert (wait.data["type"], wait.data["count"], wait.data["sum"]) == ("histogram", 1, 0.5)


def test_otlp_body_that_is_no_protobuf_is_a_problem() -> None:
    with TelemetrySink() as sink:
        for path in ("/v1/traces", "/v1/nothing"):
            with pytest.raises(HTTPError) as caught:
                urlopen(f"{sink.otlp_endpoint}{path}", data=b"\xff\xff")
            caught.value.close()
            assert caught.value.code == 400
        assert len(sink.problems) == 2
