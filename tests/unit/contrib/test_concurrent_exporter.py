from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

import opentelemetry._logs._internal
import opentelemetry.context
import opentelemetry.trace
from helpers.land import wait_until
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from ctxkit.contrib.opentelemetry import ConcurrentExporter, Handed
from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import flush
from ctxkit.flushing.sinks import discover
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterator

OK, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture
def backend() -> Iterator[TelemetrySink]:
    with TelemetrySink() as sink:
        yield sink


class Gated(SpanExporter):
    """An exporter that answers when it is told to; the class knows all of them."""

    made: list[Gated]
    entered: threading.Semaphore
    opened: threading.Semaphore
    answer: Any

    def __init__(self) -> None:
        self.made.append(self)
        self.batches: list[list[Any]] = []
        self.at_work = threading.Lock()
        self.shut_down = False

    def export(self, spans: Any) -> SpanExportResult:
        assert self.at_work.acquire(blocking=False), "two threads use one exporter"
        try:
            self.batches.append(list(spans))
            self.entered.release()
            assert self.opened.acquire(timeout=20)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer
        finally:
            self.at_work.release()

    def shutdown(self) -> None:
        self.shut_down = True


@pytest.fixture
def gated() -> Iterator[type[Gated]]:
    class Mine(Gated):
        made: list[Gated] = []  # noqa: RUF012 - of this test's class alone
        entered = threading.Semaphore(0)
        opened = threading.Semaphore(0)
        answer = OK

    yield Mine
    Mine.opened.release(100)


def await_entered(gated: type[Gated], count: int = 1) -> None:
    for _ in range(count):
        assert gated.entered.acquire(timeout=10)


def exported(gated: type[Gated]) -> list[Any]:
    return sorted(span for each in gated.made for batch in each.batches for span in batch)


def test_batches_are_exported_at_once_each_by_an_exporter_of_its_own(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated, senders=3)
    for number in range(3):
        assert exporter.export([number]) is OK
        await_entered(gated)

    assert len(gated.made) == 3
    assert exporter.unfinished == 3
    gated.opened.release(3)
    assert exporter.force_flush(10_000)
    assert exported(gated) == [0, 1, 2]
    exporter.shutdown()


def test_exporter_that_is_free_is_used_again_before_another_is_made(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated)
    gated.opened.release(5)
    for number in range(5):
        exporter.export([number])
        assert exporter.force_flush(10_000)

    assert len(gated.made) == 1
    exporter.shutdown()


def test_batches_that_wait_leave_together(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated, senders=2)
    exporter.export([0])
    await_entered(gated)
    exporter.export([1])
    await_entered(gated)
    for number in (2, 3, 4):
        exporter.export([number])
    gated.opened.release(3)

    assert exporter.force_flush(10_000)
    batches = sorted(batch for each in gated.made for batch in each.batches)
    assert batches == [[0], [1], [2, 3, 4]]
    exporter.shutdown()


@pytest.mark.parametrize("answer", [FAILURE, OSError("no route")])
def test_force_flush_says_whether_it_was_exported(gated: type[Gated], answer: Any) -> None:
    exporter = ConcurrentExporter(gated)
    gated.opened.release(9)
    gated.answer = answer
    exporter.export([1])
    assert not exporter.force_flush(10_000)
    assert exporter.force_flush(10_000), "a failure is told once"
    gated.answer = OK
    exporter.export([2])
    assert exporter.force_flush(10_000)
    exporter.shutdown()


def test_force_flush_waits_no_longer_than_it_may(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated)
    exporter.export([1])
    started = time.monotonic()

    assert not exporter.force_flush(50)
    assert 0.04 < time.monotonic() - started < 5
    gated.opened.release()
    assert exporter.force_flush(10_000)
    exporter.shutdown()


def test_export_without_room_waits_for_the_timeout_and_fails(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated, senders=1, timeout=0.05)
    exporter.export([0])
    await_entered(gated)
    results = [exporter.export([number]) for number in (1, 2, 3)]

    assert results == [OK, OK, FAILURE]
    gated.opened.release(9)
    assert not exporter.force_flush(10_000)
    assert exported(gated) == [0, 1, 2]
    exporter.shutdown()


def test_timeout_is_the_exporters_own() -> None:
    def give_up(seconds: float) -> Any:
        return ConcurrentExporter(lambda: OTLPSpanExporter(timeout=seconds))  # type: ignore[arg-type]

    assert give_up(3)._timeout == 3
    assert ConcurrentExporter(Handing)._timeout == 10


class Handing:
    """An exporter that is none of the SDK's."""

    def export(self, batch: Any) -> str:
        return "taken"

    def shutdown(self) -> None:
        pass


def test_exporter_that_is_none_of_the_sdks_is_answered_for_too() -> None:
    exporter = ConcurrentExporter(Handing)

    assert exporter.export([1]) is Handed.SUCCESS
    assert not exporter.force_flush(10_000), "it did not say SUCCESS"
    exporter.shutdown()
    assert exporter.export([2]) is Handed.FAILURE


def test_results_are_told_to_who_overrides_the_hook(gated: type[Gated]) -> None:
    heard: list[object] = []

    class Hearing(ConcurrentExporter):
        def on_exported(self, exporter: Any, result: object) -> None:
            heard.append((exporter, result))

    exporter = Hearing(gated)
    gated.opened.release(2)
    exporter.export([1])
    exporter.force_flush(10_000)
    gated.answer = error = OSError("no route")
    exporter.export([2])
    exporter.force_flush(10_000)

    [made] = gated.made
    assert heard == [(made, OK), (made, error)]
    exporter.shutdown()


def test_batch_for_which_no_exporter_can_be_made_is_told_as_lost(gated: type[Gated]) -> None:
    heard: list[object] = []

    class Hearing(ConcurrentExporter):
        def on_exported(self, exporter: Any, result: object) -> None:
            heard.append((exporter, result))

    error = OSError("no more files")

    def make() -> Gated:
        if gated.made:
            raise error
        return gated()

    exporter = Hearing(make)
    exporter.export([1])
    await_entered(gated)
    exporter.export([2])
    wait_until(lambda: heard == [(exporter, error)])
    gated.opened.release()

    assert not exporter.force_flush(10_000)
    exporter.shutdown()


def test_shutdown_exports_what_waits_and_shuts_every_exporter_down(gated: type[Gated]) -> None:
    exporter = ConcurrentExporter(gated, senders=2)
    for number in range(4):
        exporter.export([number])
    gated.opened.release(9)

    exporter.shutdown(10_000)
    exporter.shutdown(10_000)

    assert exported(gated) == [0, 1, 2, 3]
    assert all(each.shut_down for each in gated.made)
    assert exporter.export([5]) is FAILURE


def test_exports_run_with_instrumentation_suppressed_and_in_no_context() -> None:
    seen: list[object] = []
    key = opentelemetry.context._SUPPRESS_INSTRUMENTATION_KEY

    class Looking(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            value = opentelemetry.context.get_value
            seen.extend([value(key), value("request")])
            return OK

    exporter = ConcurrentExporter(Looking)
    token = opentelemetry.context.attach(opentelemetry.context.set_value("request", "mine"))
    try:
        exporter.export([1])
        assert exporter.force_flush(10_000)
    finally:
        opentelemetry.context.detach(token)
    assert seen == [True, None]
    exporter.shutdown()


def test_export_where_no_thread_can_be_started_is_done_at_once(
    gated: type[Gated], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At exit, CPython 3.12 lets nobody start a thread."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    exporter = ConcurrentExporter(gated)
    gated.opened.release(1)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    exporter.export([1])

    assert exported(gated) == [1]
    assert exporter.force_flush(0)


@pytest.mark.parametrize(
    ("factory", "senders", "sentence"),
    [
        (Handing(), 4, "cannot be called. Give the class of an exporter"),
        (dict, 4, "which has no method export"),
        (Handing, 0, "is 0. Use a number from 1 up"),
        (Handing, None, "is None. Use a number from 1 up"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    factory: Any, senders: Any, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        ConcurrentExporter(factory, senders=senders)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_exports_its_own_with_exporters_of_its_own(gated: type[Gated]) -> None:
    import warnings  # noqa: PLC0415 - of this test alone

    exporter = ConcurrentExporter(gated)
    for _ in range(2):
        exporter.export(["parent's"])
        await_entered(gated)
    gated.opened.release()  # one of the two exporters is free, one at work
    deadline = time.monotonic() + 10
    while exporter.unfinished > 1:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        gated.made.clear()
        gated.opened = threading.Semaphore(9)
        exporter.export(["child's"])
        through = exporter.force_flush(10_000)
        os._exit(0 if through and exported(gated) == ["child's"] else 1)
    _, status = os.waitpid(child, 0)
    gated.opened.release(9)

    assert status == 0
    assert exporter.force_flush(10_000)
    assert exported(gated) == ["parent's"] * 2
    exporter.shutdown()


@pytest.fixture
def tracers(backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    """A provider with a concurrent OTLP exporter, in charge."""
    url = f"{backend.otlp_endpoint}/v1/traces"
    exporter = ConcurrentExporter(lambda: OTLPSpanExporter(url, timeout=0.3))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    yield provider
    backend.behaviour = "ok"
    provider.shutdown()


def end_a_span(provider: TracerProvider, name: str = "span") -> None:
    provider.get_tracer("test").start_span(name).end()


def test_sink_tells_what_became_of_everything(
    tracers: TracerProvider, backend: TelemetrySink
) -> None:
    backend.latency = 0.05
    assert flush(10).results[0].status == "empty"
    end_a_span(tracers)

    [result] = flush(10).results
    returned = time.time()

    assert (result.sink, result.status, result.detail) == ("otel.traces", "ok", "")
    assert all(item.acknowledged <= returned for item in backend.items)
    assert len(backend.items) == 1
    assert flush(10).results[0].status == "empty"


def test_sink_tells_of_an_export_that_hangs_and_then_fails(
    tracers: TracerProvider, backend: TelemetrySink
) -> None:
    [sink] = discover()
    assert sink.pending() == 0
    backend.behaviour = "hang"
    end_a_span(tracers)

    outcomes = [sink.flush(0.05)]
    assert sink.pending() == 1, "it is under way"
    outcomes.append(sink.flush(20))

    assert outcomes[0] == ("timeout", "the exporters are still at work")
    assert outcomes[1][0] == "error"
    assert "lost: OTLPSpanExporter" in outcomes[1][1]
    assert sink.pending() == 0


def test_log_records_are_exported_and_told_of_too(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings  # noqa: PLC0415 - of this test alone

    exporter = ConcurrentExporter(lambda: OTLPLogExporter(f"{backend.otlp_endpoint}/v1/logs"))
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    monkeypatch.setattr(opentelemetry._logs._internal, "_LOGGER_PROVIDER", provider)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it moves to another package, slowly
        handler = LoggingHandler(logger_provider=provider)
    handler.emit(logging.LogRecord("shop", logging.INFO, __file__, 1, "ordered", (), None))

    [result] = flush(10).results

    assert (result.sink, result.status) == ("otel.logs", "ok")
    assert [item.kind for item in backend.items] == ["otel.log"]
    provider.shutdown()
