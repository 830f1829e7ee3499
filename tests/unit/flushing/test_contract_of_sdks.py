"""The sinks of real SDKs keep the contract of sinks."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

sentry_sdk = pytest.importorskip("sentry_sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from helpers.land_opentelemetry import OTel, otel_set_up  # noqa: E402 - needs the SDK
from helpers.land_sentry import sentry_set_up  # noqa: E402

from ctxkit.flushing.sinks import discover  # noqa: E402
from ctxkit.testing import SinkContract, TelemetrySink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.flushing import Sink


class SdkContract(SinkContract):
    """What both have in common: a backend, and how it is disturbed."""

    name: str
    kind: str
    backend: TelemetrySink
    stack: ExitStack
    monkeypatch: pytest.MonkeyPatch

    @pytest.fixture(autouse=True)
    def _backend(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        self.monkeypatch = monkeypatch
        with ExitStack() as self.stack, TelemetrySink() as self.backend:
            yield

    def found(self) -> Sink:
        [sink] = [sink for sink in discover() if sink.name == self.name]
        sink.pending()  # has it watch from now on
        return sink

    def delivered(self, sink: Any) -> int:
        return sum(item.kind == self.kind for item in self.backend.items)

    def fail(self, sink: Any) -> None:
        self.backend.behaviour = "fail"

    def hang(self, sink: Any) -> None:
        self.backend.behaviour = "hang"

    def recover(self, sink: Any) -> None:
        self.backend.behaviour = "ok"
        self.backend.hang_up()

    def dispose(self, sink: Any) -> None:
        self.stack.close()


class TestSentry(SdkContract):
    name = "sentry"
    kind = "sentry.event"

    def make_sink(self) -> Sink:
        self.numbers = count()
        self.client = self.stack.enter_context(sentry_set_up(self.backend.dsn))
        return self.found()

    def record(self, sink: Any) -> None:
        sentry_sdk.capture_message(f"sold {next(self.numbers)}")


class TestSentryWithManySenders(TestSentry):
    """With the transport that sends several envelopes at once."""

    def make_sink(self) -> Sink:
        several = pytest.importorskip("ctxkit.contrib.sentry").ConcurrentTransport
        self.numbers = count()
        set_up = sentry_set_up(self.backend.dsn, transport=several)
        self.client = self.stack.enter_context(set_up)
        return self.found()


class OTelContract(SdkContract):
    otel: OTel
    options: ClassVar[dict[str, Any]] = {}

    def fail(self, sink: Any) -> None:
        if tuple(map(int, version("opentelemetry-sdk").split(".")[:2])) < (1, 35):
            pytest.skip("this exporter does not give up in time")
        super().fail(sink)

    def make_sink(self) -> Sink:
        set_up = otel_set_up(self.backend.otlp_endpoint, self.monkeypatch, **self.options)
        self.otel = self.stack.enter_context(set_up)
        return self.found()


class TestOTelTraces(OTelContract):
    name = "otel.traces"
    kind = "otel.span"

    def record(self, sink: Any) -> None:
        self.otel.tracers.get_tracer("shop").start_span("sold").end()


class TestOTelLogs(OTelContract):
    name = "otel.logs"
    kind = "otel.log"

    def record(self, sink: Any) -> None:
        self.otel.log_handler.emit(logging.makeLogRecord({"msg": "sold", "levelno": logging.INFO}))


class WithManyExporters(OTelContract):
    """With exporters that send several batches at once."""

    options: ClassVar = {"concurrent": True}

    def make_sink(self) -> Sink:
        pytest.importorskip("ctxkit.contrib.opentelemetry")
        return super().make_sink()


class TestOTelTracesWithManyExporters(WithManyExporters, TestOTelTraces):
    pass


class TestOTelLogsWithManyExporters(WithManyExporters, TestOTelLogs):
    pass


class TestOTelMetrics(OTelContract):
    name = "otel.metrics"
    kind = "otel.metric"

    def make_sink(self) -> Sink:
        sink = super().make_sink()
        sink.flush(self.patience)  # nobody knows what the meter saw before
        return sink

    def record(self, sink: Any) -> None:
        self.otel.counter.add(1)

    def delivered(self, sink: Any) -> int:
        # Cumulative: the last point tells of all.
        points = [item for item in self.backend.items if item.kind == self.kind]
        return int(points[-1].data["value"]) if points else 0
