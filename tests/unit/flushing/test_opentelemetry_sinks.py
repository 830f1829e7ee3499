from __future__ import annotations

import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

import opentelemetry.context
import opentelemetry.metrics._internal
import opentelemetry.trace
from helpers.land import FakeSink
from helpers.land_opentelemetry import OTel, otel_set_up
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)

from ctxkit.contrib.opentelemetry import ConcurrentExporter
from ctxkit.flushing import add_sink, flush, prepare
from ctxkit.flushing.sinks import _otel_processors, discover
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = ("otel.traces", "otel.metrics", "otel.logs")


@pytest.fixture
def otel(backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch) -> Iterator[OTel]:
    with otel_set_up(backend.otlp_endpoint, monkeypatch) as otel:
        yield otel
        backend.behaviour = "ok"  # else the shutdown waits for it


@pytest.fixture
def tracers(monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """A provider without processors, in charge."""
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    yield provider
    provider.shutdown()


def end_a_span(provider: TracerProvider) -> None:
    provider.get_tracer("test").start_span("span").end()


def statuses(timeout: float = 10) -> dict[str, str]:
    return {result.sink: result.status for result in flush(timeout).results}


def details() -> dict[str, str]:
    return {result.sink: result.detail for result in flush(10).results}


def test_flush_lands_all_three_signals(otel: OTel, backend: TelemetrySink) -> None:
    backend.latency = 0.03
    otel.record()

    report = flush(10)
    returned = time.time()

    assert {result.sink: result.status for result in report.results} == dict.fromkeys(SIGNALS, "ok")
    assert {item.kind for item in backend.items} == {"otel.span", "otel.log", "otel.metric"}
    assert all(item.acknowledged <= returned for item in backend.items)


def test_flush_with_nothing_recorded_sends_nothing(
    otel: OTel, backend: TelemetrySink, flush_threads: Callable[[], list[str]]
) -> None:
    otel.record()
    flush(10)
    requests, threads = backend.requests, flush_threads()

    for _ in range(5):
        assert statuses() == dict.fromkeys(SIGNALS, "empty")

    assert backend.requests == requests, "cumulative metrics went out although nothing changed"
    assert flush_threads() == threads
    otel.record()
    assert statuses() == dict.fromkeys(SIGNALS, "ok")
    assert backend.requests == requests + 3


def test_flush_before_anything_was_recorded_starts_no_thread(
    monkeypatch: pytest.MonkeyPatch, flush_threads: Callable[[], list[str]]
) -> None:
    with TelemetrySink() as backend, otel_set_up(backend.otlp_endpoint, monkeypatch) as otel:
        provider = MeterProvider(shutdown_on_exit=False)
        monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", provider)

        assert statuses() == dict.fromkeys(SIGNALS, "empty")
        provider.shutdown()
        assert otel.tracers.force_flush()
    assert flush_threads() == []


# Before 1.35 the exporters retried for a minute, whatever their timeout.
gives_up = pytest.mark.skipif(
    tuple(map(int, version("opentelemetry-sdk").split(".")[:2])) < (1, 35),
    reason="this exporter does not give up in time",
)


@gives_up
@pytest.mark.parametrize("behaviour", ["fail", "refuse", "rate-limit"])
def test_flush_of_what_the_collector_refuses_fails(
    otel: OTel, backend: TelemetrySink, behaviour: Any
) -> None:
    backend.behaviour = behaviour
    otel.record()

    report = flush(10)

    for result in report.results:
        assert result.status == "error", result
        assert "Exporter" in result.detail


def test_provider_found_by_two_threads_at_once_is_watched_by_the_sink_that_stays(
    otel: OTel,
) -> None:
    consumer: Any = otel.meters._measurement_consumer
    tapped, let_go = threading.Event(), threading.Event()

    class SlowlyTapped(type(consumer)):  # type: ignore[misc]
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "consume_measurement" and not tapped.is_set():
                tapped.set()
                assert let_go.wait(10)

    consumer.__class__ = SlowlyTapped
    first, second = threading.Thread(target=prepare), threading.Thread(target=prepare)
    first.start()
    assert tapped.wait(10)
    second.start()
    second.join(0.2)  # time to get in between, if it could
    let_go.set()
    first.join(10)
    second.join(10)
    flush(10)
    otel.counter.add(1)
    assert statuses()["otel.metrics"] == "ok"


def test_processors_looked_at_by_two_threads_at_once_are_counted_once(
    tracers: TracerProvider,
) -> None:
    looked, go_on = threading.Event(), threading.Event()

    class Slow(tuple[Any, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Any]:
            if not looked.is_set():
                looked.set()
                go_on.wait(10)
            return super().__iter__()

    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    end_a_span(tracers)
    multi: Any = tracers._active_span_processor
    multi._span_processors = Slow(multi._span_processors)
    [sink] = discover()
    threads = [threading.Thread(target=sink.pending) for _ in range(2)]
    threads[0].start()
    assert looked.wait(10)
    threads[1].start()
    threads[1].join(0.1)  # it waits for the first to be done, or overtakes it
    go_on.set()
    for thread in threads:
        thread.join(10)

    assert sink.pending() == 1
    assert flush(10).ok


def test_flush_after_failed_metrics_sends_them_again(otel: OTel, backend: TelemetrySink) -> None:
    backend.behaviour = "rate-limit"  # old exporters try again on a 500
    otel.counter.add(1)
    assert statuses()["otel.metrics"] == "error"
    backend.behaviour = "ok"

    assert statuses()["otel.metrics"] == "ok"
    assert [item.kind for item in backend.items] == ["otel.metric"]


def test_flush_of_a_hanging_collector_names_each_signal(otel: OTel, backend: TelemetrySink) -> None:
    backend.behaviour = "hang"
    otel.record()

    report = flush(0.1)

    assert {result.sink: result.status for result in report.results} == dict.fromkeys(
        SIGNALS, "timeout"
    )
    assert report.seconds < 1


def test_flush_waits_for_an_export_that_the_sdk_began_itself(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.latency = 0.2
    prepare()
    otel.record()
    own = threading.Thread(target=otel.tracers.force_flush)
    own.start()
    deadline = time.monotonic() + 10
    while not backend.requests:
        assert time.monotonic() < deadline
        time.sleep(0.002)

    [traces, *_] = flush(10).results

    assert (traces.sink, traces.status) == ("otel.traces", "ok")
    assert "otel.span" in {item.kind for item in backend.items}
    own.join()


def test_flush_finds_the_provider_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
        end_a_span(provider)

        assert statuses() == {"otel.traces": "ok"}
        assert len(exporter.get_finished_spans()) == 1
        provider.shutdown()


def test_flush_finds_a_processor_added_later(tracers: TracerProvider) -> None:
    assert statuses() == {"otel.traces": "empty"}
    exporter = InMemorySpanExporter()
    tracers.add_span_processor(BatchSpanProcessor(exporter))
    end_a_span(tracers)

    assert statuses() == {"otel.traces": "ok"}
    assert len(exporter.get_finished_spans()) == 1


def test_flush_with_processors_that_keep_nothing_has_nothing_to_do(
    tracers: TracerProvider, flush_threads: Callable[[], list[str]]
) -> None:
    class Enriching(SpanProcessor):
        pass

    tracers.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    tracers.add_span_processor(Enriching())
    end_a_span(tracers)

    assert statuses() == {"otel.traces": "empty"}
    assert flush_threads() == []


def test_flush_with_an_unknown_processor_is_unverified(tracers: TracerProvider) -> None:
    class Wrapping(SpanProcessor):
        def __init__(self) -> None:
            self.flushed = 0

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            self.flushed += 1
            return True

    wrapping = Wrapping()
    tracers.add_span_processor(wrapping)

    [result] = flush(10).results

    assert (result.status, result.detail) == ("unverified", "Wrapping does not tell")
    assert wrapping.flushed == 1


def test_flush_with_an_unknown_processor_that_says_no_fails(tracers: TracerProvider) -> None:
    class Refusing(SpanProcessor):
        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return False

    tracers.add_span_processor(Refusing())

    assert statuses() == {"otel.traces": "error"}


def test_flush_with_an_unknown_provider_is_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vendors:
        def __init__(self) -> None:
            self.flushed = 0

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            self.flushed += 1
            return True

    vendors = Vendors()
    for module, name in (
        (opentelemetry.trace, "_TRACER_PROVIDER"),
        (opentelemetry.metrics._internal, "_METER_PROVIDER"),
    ):
        monkeypatch.setattr(module, name, vendors)

    assert statuses() == {"otel.traces": "unverified", "otel.metrics": "unverified"}
    assert details() == dict.fromkeys(("otel.traces", "otel.metrics"), "Vendors does not tell")
    assert vendors.flushed == 4


def test_flush_with_a_provider_that_cannot_flush_finds_no_sink(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", object())

    assert flush().results == ()


def test_flush_with_an_exporter_that_cannot_be_watched_is_unverified(
    tracers: TracerProvider,
) -> None:
    class Sealed(SpanExporter):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.FAILURE

    tracers.add_span_processor(BatchSpanProcessor(Sealed()))
    end_a_span(tracers)

    assert details() == {"otel.traces": "BatchSpanProcessor does not tell"}


def test_flush_with_a_raising_exporter_fails_with_its_error(tracers: TracerProvider) -> None:
    class Raising(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise OSError("no route")

    tracers.add_span_processor(BatchSpanProcessor(Raising()))
    end_a_span(tracers)

    assert details() == {"otel.traces": "lost: Raising raised OSError: no route"}
    assert statuses() == {"otel.traces": "empty"}


def test_flush_leaves_readers_that_are_pulled_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    monkeypatch.setattr(opentelemetry.metrics._internal, "_METER_PROVIDER", provider)
    provider.get_meter("shop").create_counter("orders").add(1)

    assert statuses() == {"otel.metrics": "empty"}
    provider.shutdown()


def test_flush_does_not_ask_observable_instruments(otel: OTel) -> None:
    flush(10)
    asked: list[object] = []

    def observe(_: object) -> list[Observation]:
        asked.append(1)
        return [Observation(1)]

    otel.meters.get_meter("shop").create_observable_gauge("stock", [observe])

    assert statuses()["otel.metrics"] == "empty"
    assert asked == []


def test_flush_suppresses_instrumentation_in_its_threads() -> None:
    seen: list[object] = []
    key = opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY
    add_sink(FakeSink(work=lambda: seen.append(opentelemetry.context.get_value(key)) or True))

    flush(10)

    assert seen == [True]
    assert not opentelemetry.context.get_value(key)


def test_record_that_drops_out_of_a_full_queue_is_told_of(tracers: TracerProvider) -> None:
    entered, opened = threading.Semaphore(0), threading.Semaphore(0)

    class Slow(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            entered.release()
            assert opened.acquire(timeout=20)
            return super().export(spans)

    exporter = Slow()
    tracers.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=4, max_export_batch_size=4)
    )
    prepare()
    for _ in range(4):
        end_a_span(tracers)
    assert entered.acquire(timeout=10)  # it has taken those
    for _ in range(6):
        end_a_span(tracers)
    opened.release(9)

    assert details() == {"otel.traces": "lost: queue overflow"}
    assert details() == {"otel.traces": ""}
    assert len(exporter.get_finished_spans()) == 8


def test_record_that_is_not_wanted_is_no_overflow(tracers: TracerProvider) -> None:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - of this test alone

    exporter = InMemorySpanExporter()
    tracers.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=1, max_export_batch_size=1)
    )
    prepare()

    class Unsampled:
        context = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0))

    processor: Any = tracers._active_span_processor._span_processors[0]
    for _ in range(3):
        processor.on_end(Unsampled())

    assert statuses() == {"otel.traces": "empty"}


def test_flush_with_several_processors_tells_of_each(
    tracers: TracerProvider, backend: TelemetrySink
) -> None:
    class Raising(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            raise OSError("no route")

    class Failing(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.FAILURE

    healthy = InMemorySpanExporter()
    for exporter in (Failing(), healthy, Raising()):
        tracers.add_span_processor(BatchSpanProcessor(exporter))
    end_a_span(tracers)

    [detail] = details().values()

    assert set(detail.removeprefix("lost: ").split(", ")) == {
        "Failing answered FAILURE",
        "Raising raised OSError: no route",
    }
    assert len(healthy.get_finished_spans()) == 1


def test_concurrency_is_what_every_processor_takes(
    tracers: TracerProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracers.add_span_processor(BatchSpanProcessor(ConcurrentExporter(InMemorySpanExporter)))
    [sink] = discover()
    assert sink.pending() == 0
    assert sink.concurrency == 16  # type: ignore[attr-defined]

    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    assert sink.pending() == 0
    assert sink.concurrency == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("concurrent", [False, True])
def test_span_that_ended_is_pushed_out_if_several_exports_may_run(
    tracers: TracerProvider, monkeypatch: pytest.MonkeyPatch, *, concurrent: bool
) -> None:
    nudges: list[int] = []
    monkeypatch.setattr(_otel_processors, "nudge", lambda: nudges.append(1))
    exporter: Any = ConcurrentExporter(InMemorySpanExporter) if concurrent else None
    tracers.add_span_processor(BatchSpanProcessor(exporter or InMemorySpanExporter()))
    prepare()

    end_a_span(tracers)

    assert len(nudges) == concurrent
    assert statuses() == {"otel.traces": "ok"}


def test_flushes_at_once_are_each_told_what_was_lost_meanwhile(tracers: TracerProvider) -> None:
    entered, opened = threading.Semaphore(0), threading.Semaphore(0)

    class Failing(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            entered.release()
            assert opened.acquire(timeout=20)
            return SpanExportResult.FAILURE

    tracers.add_span_processor(BatchSpanProcessor(ConcurrentExporter(Failing)))
    [sink] = discover()
    assert sink.pending() == 0
    outcomes: list[Any] = []
    flushes = [threading.Thread(target=lambda: outcomes.append(sink.flush(10))) for _ in range(3)]
    end_a_span(tracers)
    for each in flushes:
        each.start()
    assert entered.acquire(timeout=10)
    time.sleep(0.1)  # for all to come to their wait
    opened.release()
    for each in flushes:
        each.join()

    assert outcomes == [("error", "lost: Failing answered FAILURE")] * 3
