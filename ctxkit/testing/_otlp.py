"""Read OTLP/HTTP protobuf requests. The one importer of ``opentelemetry.proto``.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.exceptions import MissingDependencyError
from ctxkit.testing._items import Reading

try:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )
except ImportError as error:
    raise MissingDependencyError("opentelemetry-proto", "demo") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

_NANO = 1e9


def read_otlp(path: str, body: bytes) -> list[Reading]:
    """Read every span, log record or metric data point of an export request.

    Raises:
        ValueError: The path is none of ``/v1/traces``, ``/v1/logs``, ``/v1/metrics``, or
            the body is not what the path promises.
    """
    read = _READERS.get(path)
    if read is None:
        raise ValueError(f"{path} is no OTLP path: expected one of {', '.join(_READERS)}")
    try:
        return list(read(body))
    except DecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def _spans(body: bytes) -> Iterator[Reading]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                data = {
                    "scope": scope.scope.name,
                    "resource": _attributes(resource.resource.attributes),
                    "attributes": _attributes(span.attributes),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex() or None,
                    "span_kind": span.SpanKind.Name(span.kind),
                    "start": span.start_time_unix_nano / _NANO,
                    "end": span.end_time_unix_nano / _NANO,
                    "status": span.status.StatusCode.Name(span.status.code),
                    "events": [
                        {
                            "name": event.name,
                            "time": event.time_unix_nano / _NANO,
                            "attributes": _attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                }
                yield Reading("otel.span", span.name, _trace_id(span.trace_id), data)


def _logs(body: bytes) -> Iterator[Reading]:
    request = ExportLogsServiceRequest.FromString(body)
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                text = _value(record.body)
                data = {
                    "scope": scope.scope.name,
                    "resource": _attributes(resource.resource.attributes),
                    "attributes": _attributes(record.attributes),
                    "span_id": record.span_id.hex() or None,
                    "body": text,
                    "severity": record.severity_text,
                    "time": record.time_unix_nano / _NANO,
                }
                yield Reading("otel.log", str(text), _trace_id(record.trace_id), data)


def _metrics(body: bytes) -> Iterator[Reading]:
    request = ExportMetricsServiceRequest.FromString(body)
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                shared = {
                    "scope": scope.scope.name,
                    "resource": _attributes(resource.resource.attributes),
                    "unit": metric.unit,
                }
                yield from _points(metric, shared)


def _points(metric: Metric, shared: dict[str, Any]) -> Iterator[Reading]:
    form = metric.WhichOneof("data")
    if form is None:
        return
    for point in getattr(metric, form).data_points:
        data: dict[str, Any] = {
            **shared,
            "type": form,
            "attributes": _attributes(point.attributes),
            "start": point.start_time_unix_nano / _NANO,
            "time": point.time_unix_nano / _NANO,
        }
        if form in ("gauge", "sum"):
            data["value"] = getattr(point, point.WhichOneof("value") or "as_int")
        else:
            data |= {"count": point.count, "sum": point.sum}
        # A point sums many traces; its exemplars are those that it remembers.
        traces = [_trace_id(exemplar.trace_id) for exemplar in getattr(point, "exemplars", ())]
        data["exemplars"] = [trace for trace in traces if trace]
        only = data["exemplars"][0] if len(set(data["exemplars"])) == 1 else None
        yield Reading("otel.metric", metric.name, only, data)


def _trace_id(raw: bytes) -> str | None:
    return raw.hex() if any(raw) else None


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    form = value.WhichOneof("value")
    if form is None:
        return None
    if form == "array_value":
        return [_value(each) for each in value.array_value.values]
    if form == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    plain = getattr(value, form)
    return plain.hex() if isinstance(plain, bytes) else plain


_READERS: dict[str, Callable[[bytes], Iterator[Reading]]] = {
    "/v1/traces": _spans,
    "/v1/logs": _logs,
    "/v1/metrics": _metrics,
}
