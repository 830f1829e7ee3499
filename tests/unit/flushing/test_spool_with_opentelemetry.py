from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

import opentelemetry.trace
from helpers.land_opentelemetry import OTel, otel_set_up
from helpers.spooled import eventually, last_flush, rested, results, spooling, status
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ctxkit.flushing import flush, prepare
from ctxkit.flushing.sinks import discover

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.testing import TelemetrySink

ROOT = Path(__file__).parents[3]
SIGNALS = ("otel.traces", "otel.metrics", "otel.logs")
KINDS = ["otel.log", "otel.metric", "otel.span"]

# Before 1.35 the exporters retried for a minute, whatever their timeout.
OLD = tuple(map(int, version("opentelemetry-sdk").split(".")[:2])) < (1, 35)
gives_up = pytest.mark.skipif(OLD, reason="this exporter does not give up in time")


@pytest.fixture
def otel(backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OTel]:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    with (
        spooling(tmp_path),
        otel_set_up(backend.otlp_endpoint, monkeypatch, timeout=0.3) as otel,
    ):
        prepare()
        yield otel
        backend.behaviour = "ok"  # else the shutdown waits for it
    logging.getLogger("opentelemetry").setLevel(logging.NOTSET)


def kinds(backend: TelemetrySink) -> list[str]:
    return sorted(item.kind for item in backend.items)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("refuse", marks=gives_up),
        pytest.param("fail", marks=gives_up),
        pytest.param("hang", marks=gives_up),
        "rate-limit",
    ],
)
def test_batch_that_could_not_be_sent_lands_once_when_the_sink_is_back(
    fault: str, otel: OTel, backend: TelemetrySink
) -> None:
    backend.behaviour = fault  # type: ignore[assignment]
    otel.record()
    report = flush(20)

    assert set(results(report)) == set(SIGNALS)
    for said in results(report).values():
        assert said.startswith("error: kept for later: OTLP"), report
    assert status().kept == 3
    backend.behaviour = "ok"
    backend.clear()
    otel.record()
    report = flush(20)

    assert results(report) == dict.fromkeys(SIGNALS, "ok: 1 kept earlier and sent now"), report
    assert kinds(backend) == sorted(KINDS * 2)
    assert status()[1:6] == (0, 0, 3, 3, 0)
    rested()
    flush(20)
    assert kinds(backend) == sorted(KINDS * 2)
    spans = [item.data["span_id"] for item in backend.items if item.kind == "otel.span"]
    assert len(set(spans)) == 2


@gives_up
def test_kept_batches_are_sent_at_shutdown_though_nothing_new_is(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.behaviour = "refuse"
    otel.record()
    flush(20)
    backend.behaviour = "ok"
    requests = backend.requests
    last_flush()
    assert kinds(backend) == KINDS
    assert backend.requests == requests + 3, "cumulative metrics went out although nothing changed"


def test_what_is_on_its_way_when_the_time_is_over_is_copied_and_the_copies_go(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.latency = 0.2
    otel.record()
    report = flush(0.05)
    assert {each.status for each in report.results} == {"timeout"}
    assert status().files == 3
    otel.record()  # waits behind what is on its way
    flush(0.01)
    assert status().files == 5, "what waits, but no measurement, which is in no batch yet"
    flush(0.01)
    assert status().files == 5

    backend.latency = 0
    eventually(lambda: status().files <= 2)  # the copies of what was on its way are gone
    last_flush()
    eventually(lambda: kinds(backend) == sorted(KINDS * 2))
    eventually(lambda: status().files == 0)
    assert status()[1:6] == (0, 0, 0, 0, 0)


def test_copy_of_a_batch_that_failed_in_the_end_is_sent_once(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.latency = 0.15
    backend.behaviour = "rate-limit"
    otel.record()
    flush(0.05)
    assert (status().files, status().kept) == (3, 0)
    eventually(lambda: status().kept == 3)
    eventually(lambda: status().files == 3)
    backend.latency = 0
    backend.behaviour = "ok"
    last_flush()
    assert kinds(backend) == KINDS
    assert status().files == 0


def test_spool_that_is_empty_is_not_looked_at_again(
    otel: OTel, backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush(20)
    looks: list[object] = []
    for sink in discover():
        folder = sink.keeper.spool.folder  # type: ignore[attr-defined]
        monkeypatch.setattr(type(folder), "entries", lambda self: looks.append(self) or [])
    for _ in range(5):
        otel.record()
        assert flush(20).ok
    assert looks == []
    rested()
    flush(20)
    assert len(looks) == 3


@pytest.mark.parametrize(("answer", "after"), [(400, (0, 1)), (500, (1, 0)), (503, (1, 0))])
def test_kept_batch_is_dropped_only_when_it_is_refused(
    answer: int,
    after: tuple[int, int],
    otel: OTel,
    backend: TelemetrySink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _keep_a_span()
    _answer(monkeypatch, answer)

    last_flush()

    assert (status().files, status().dropped) == after


def test_kept_batch_that_fails_beside_others_is_dropped_after_some_attempts(
    otel: OTel, backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep_a_span()
    _answer(monkeypatch, 500)
    keeper = next(sink.keeper for sink in discover() if sink.name == SIGNALS[0])  # type: ignore[attr-defined]
    for number in range(5):
        assert (status().files, status().dropped) == (1, 0), number
        keeper._landed = True
        last_flush()
    assert (status().files, status().dropped) == (0, 1)


def _keep_a_span() -> None:
    """Have the spool keep a span as if it could not have been sent."""
    prepare()
    [keeper] = [sink.keeper for sink in discover() if sink.name == SIGNALS[0]]  # type: ignore[attr-defined]
    [(exporter, _)] = keeper._queues()
    provider = TracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("shop").start_as_current_span("dear") as span:
        pass
    kept = status().kept
    keeper._fail(exporter, [span], ["as if"])
    assert status().kept == kept + 1
    keeper.ledger.settle()


def _answer(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    """Have what comes from files answered so, whatever the SDK sends it by."""
    from ctxkit.flushing.spooling import _otlp  # noqa: PLC0415 - as it is now

    monkeypatch.setattr(_otlp._Exporter, "_post", lambda *_: _otlp._by_status(answer))


class OwnExporter(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        return SpanExportResult.FAILURE


def test_exporter_of_unknown_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OwnExporter()))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    with spooling(tmp_path):
        prepare()
        provider.get_tracer("shop").start_span("lost").end()
        assert results(flush(10))["otel.traces"] == "error: lost: OwnExporter answered FAILURE"
        assert status().unspooled == ("OwnExporter",)
        assert status().kept == 0
    provider.shutdown()


def test_kept_batch_of_another_collector_or_tenant_stays_where_it_is(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spooling(tmp_path), otel_set_up(backend.otlp_endpoint, monkeypatch):
        _keep_a_span()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "tenant=other")
    with spooling(tmp_path), otel_set_up(backend.otlp_endpoint, monkeypatch):
        last_flush()
        assert (status().files, backend.items) == (1, [])
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_HEADERS")
    with spooling(tmp_path), otel_set_up(backend.otlp_endpoint, monkeypatch):
        last_flush()
        assert status().files == 0
    assert kinds(backend) == ["otel.span"]


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_kept_batch_is_sent_as_the_exporter_would(
    compression: str, backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    with spooling(tmp_path), otel_set_up(backend.otlp_endpoint, monkeypatch):
        _keep_a_span()
        last_flush()
    assert kinds(backend) == ["otel.span"]
    assert backend.problems == []


def test_replay_begins_no_file_after_its_time_but_at_shutdown(
    otel: OTel, backend: TelemetrySink
) -> None:
    for _ in range(8):
        _keep_a_span()
    backend.latency = 0.1
    rested()
    begun = time.monotonic()
    said = results(flush(10))["otel.traces"]
    assert "kept earlier and sent now" in said
    assert "still kept" in said, f"{said} after {time.monotonic() - begun}"
    last_flush()
    assert status().files == 0


def test_kept_batch_is_sent_after_an_export_of_the_sdk_s_own(
    otel: OTel, backend: TelemetrySink
) -> None:
    flush(10)
    _keep_a_span()
    otel.tracers.get_tracer("shop").start_span("fresh").end()
    otel.span_processor.force_flush()

    eventually(lambda: status().sent)
    assert sorted(item.name for item in backend.items) == ["dear", "fresh"]


def test_copies_of_items_that_the_sdk_dropped_are_sent(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = OTLPSpanExporter(f"{backend.otlp_endpoint}/v1/traces")
    processor = BatchSpanProcessor(exporter, max_queue_size=2, max_export_batch_size=2)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    backend.latency = 0.5
    with spooling(tmp_path):
        prepare()
        for number in range(6):
            provider.get_tracer("shop").start_span(f"{number}").end()
            flush(0.05 if number == 0 else 0.001)
        backend.latency = 0
        eventually(lambda: (last_flush(), len({item.name for item in backend.items}) == 6)[1])
        assert status().files == 0
    provider.shutdown()


KILLED = """
import os, sys, logging, warnings
import opentelemetry.trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import ctxkit
from ctxkit.flushing import prepare
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(sys.argv[1] + "/v1/traces")))
opentelemetry.trace.set_tracer_provider(provider)
prepare()
for number in range(3):
    provider.get_tracer("shop").start_span(f"dear {number}").end()
report = ctxkit.flush(0.2)
assert "timeout" in str(report), report
os.kill(os.getpid(), 9)
"""


def test_spans_of_a_process_that_is_killed_are_sent_by_the_next(
    backend: TelemetrySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.behaviour = "hang"
    run = subprocess.run(
        [sys.executable, "-c", KILLED, backend.otlp_endpoint],
        env={**os.environ, "CTXKIT_SPOOL": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=50,
    )
    assert run.returncode == -9
    backend.behaviour = "ok"
    with spooling(tmp_path), otel_set_up(backend.otlp_endpoint, monkeypatch):
        assert status().files == 1
        assert results(flush(10))["otel.traces"] == "ok: 1 kept earlier and sent now"
    assert sorted(item.name for item in backend.items) == ["dear 0", "dear 1", "dear 2"]


FORKED = """
import os, sys, time
import opentelemetry.trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
import ctxkit
from ctxkit.flushing import prepare, engine, spool_status
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(sys.argv[1] + "/v1/traces")))
opentelemetry.trace.set_tracer_provider(provider)
prepare()
provider.get_tracer("shop").start_span("dear").end()
ctxkit.flush(0.2)
assert spool_status().files == 1
if os.fork() == 0:
    engine.drain()
    sent = spool_status().sent
    provider.get_tracer("shop").start_span("child's").end()
    assert ctxkit.flush(10).ok
    os._exit(sent)
_, code = os.wait()
assert code == 0, code
assert ctxkit.flush(10).ok
assert spool_status().files == 0
os._exit(7)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_leaves_to_its_parent_what_that_sends(
    backend: TelemetrySink, tmp_path: Path
) -> None:
    backend.latency = 1.0
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, backend.otlp_endpoint],
        env={**os.environ, "CTXKIT_SPOOL": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=False,
        timeout=50,
    )
    assert run.returncode == 7
    assert sorted(item.name for item in backend.items) == ["child's", "dear"]
