"""The WSGI and ASGI applications of the bare project, for real servers."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import set_tracer_provider

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "helpers.django_site_settings")

# An hour between exports: what arrives was flushed, not lucky.
_NEVER = 3_600_000

_tracers = TracerProvider()
_tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=_NEVER))
set_tracer_provider(_tracers)
_loggers = LoggerProvider()
_loggers.add_log_record_processor(
    BatchLogRecordProcessor(OTLPLogExporter(), schedule_delay_millis=_NEVER)
)
set_logger_provider(_loggers)
set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(), _NEVER)]))
DjangoInstrumentor().instrument()

wsgi = get_wsgi_application()
asgi = get_asgi_application()
