"""What a flush does across forks and at the interpreter's exit, in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.land import FakeSink, GatedSink

from ctxkit.flushing import add_sink, engine, flush

if TYPE_CHECKING:
    from ctxkit.testing import TelemetrySink

TESTS = Path(__file__).parents[2]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def run(script: str, *args: str, **environ: str) -> list[str]:
    """Run a script that can import the test helpers; return the lines it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *args],
        capture_output=True,
        timeout=40,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), **environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_flush_in_another_process_than_before_starts_anew(fresh_engine: engine.Engine) -> None:
    """uWSGI forks in C, where no at-fork hook runs."""
    sink = FakeSink()
    add_sink(sink)
    assert flush(10).ok
    [lane] = fresh_engine._lanes
    fresh_engine._pid = -1

    assert flush(10).ok

    assert len(set(sink.threads)) == 2
    lane.retire()


@needs_fork
def test_flush_in_a_forked_child_works_while_the_parents_hangs() -> None:
    lines = run("""
import os
from concurrent.futures import ThreadPoolExecutor
from helpers.land import FakeSink, GatedSink
from ctxkit.flushing import add_sink, flush, remove_sink

healthy, hanging = FakeSink("healthy"), GatedSink("hanging")
add_sink(healthy)
add_sink(hanging)
print(flush(0.1).ok, flush=True)
child = os.fork()
if child == 0:
    hanging.gate.release(9)
    print(flush(10).ok, len(set(healthy.threads)), flush=True)
    os._exit(0)
os.waitpid(child, 0)
hanging.gate.release(9)
print(flush(10).ok, len(set(healthy.threads)), flush=True)
""")

    assert lines == ["False", "True 2", "True 1"]


def test_before_fork_waits_for_a_pass_to_end(fresh_engine: engine.Engine) -> None:
    sink = GatedSink()
    add_sink(sink)
    flush(0)
    assert sink.entered.acquire(timeout=10)
    [lane] = fresh_engine._lanes
    opening = threading.Timer(0.02, sink.gate.release)
    opening.start()

    fresh_engine.before_fork()

    assert lane.running == ()
    opening.join()


@needs_fork
def test_fork_waits_for_a_pass_that_holds_a_lock() -> None:
    lines = run("""
import os, threading
from helpers.land import FakeSink
from ctxkit.flushing import add_sink, flush

lock, held = threading.Lock(), threading.Event()

def work():
    with lock:
        held.set()
        return not threading.Event().wait(0.03)

add_sink(FakeSink(work=work))
flush(0)
held.wait(10)
child = os.fork()
if child == 0:
    print(lock.locked(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
""")

    assert lines == ["False"]


@needs_fork
def test_fork_leaves_sentrys_events_to_the_parent(backend: TelemetrySink) -> None:
    pytest.importorskip("sentry_sdk")
    backend.latency = 0.2

    lines = run(
        """
import os, sys, time
import sentry_sdk
from helpers.land_sentry import sentry_set_up
from ctxkit.flushing import flush

with sentry_set_up(sys.argv[1]) as client:
    sentry_sdk.capture_message("first")  # imports what sending needs: no fork survives those
    assert flush(10).ok
    queue = client.transport._worker._queue
    sentry_sdk.capture_message("in flight")
    while queue.qsize():
        time.sleep(0.002)
    sentry_sdk.capture_message("queued")
    child = os.fork()
    if child == 0:
        sentry_sdk.capture_message("of the child")
        report = flush(10)
        print(report.ok, report.results[0].status, report.seconds < 5, flush=True)
        print(flush(10).results[0].status, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(flush(10).ok)
""",
        backend.dsn,
    )

    assert lines == ["True ok True", "empty", "True"]
    assert Counter(item.name for item in backend.items) == {
        "first": 1,
        "in flight": 1,
        "queued": 1,
        "of the child": 1,
    }


@needs_fork
def test_fork_during_a_metrics_export_does_not_lock_the_child_out() -> None:
    pytest.importorskip("opentelemetry.sdk.metrics")

    lines = run("""
import os, threading
import opentelemetry.metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter, MetricExportResult, PeriodicExportingMetricReader
)
from ctxkit.flushing import flush

parent = os.getpid()
exporting, forked = threading.Event(), threading.Event()

class Exporter(MetricExporter):
    def export(self, metrics_data, timeout_millis=0, **named):
        exporting.set()
        if os.getpid() == parent:
            forked.wait(10)
        return MetricExportResult.SUCCESS
    def force_flush(self, timeout_millis=0):
        return True
    def shutdown(self, timeout_millis=0, **named):
        pass

provider = MeterProvider([PeriodicExportingMetricReader(Exporter())])
opentelemetry.metrics.set_meter_provider(provider)
counter = provider.get_meter("shop").create_counter("orders")
counter.add(1)
threading.Thread(target=provider.force_flush).start()
exporting.wait(10)
child = os.fork()
if child == 0:
    counter.add(1)
    [result] = flush(5).results
    print(result.sink, result.status, flush=True)
    os._exit(0)
os.waitpid(child, 0)
forked.set()
""")

    assert lines == ["otel.metrics ok"]


def test_flush_finds_an_sdk_that_is_loaded_after_the_first_flush(backend: TelemetrySink) -> None:
    pytest.importorskip("sentry_sdk")

    lines = run(
        """
import sys
from ctxkit.flushing import flush

print(flush().results, flush().results)
import sentry_sdk
print(flush().results)
sentry_sdk.init(dsn=sys.argv[1], default_integrations=False)
sentry_sdk.capture_message("late")
print(flush(10).results[0].status)
""",
        backend.dsn,
    )

    assert lines == ["() ()", "()", "ok"]


EXITING = """
import sys
import opentelemetry.metrics, opentelemetry.trace, opentelemetry._logs, sentry_sdk
from helpers.land_opentelemetry import OTel
from ctxkit.flushing import prepare

sentry_sdk.init(dsn=sys.argv[1], default_integrations=False)
otel = OTel(sys.argv[2], 5)
opentelemetry.trace.set_tracer_provider(otel.tracers)
opentelemetry.metrics.set_meter_provider(otel.meters)
opentelemetry._logs.set_logger_provider(otel.loggers)
prepare()
sentry_sdk.capture_message("last words")
otel.record()
"""


def test_exit_drains_what_the_sdks_do_not(backend: TelemetrySink) -> None:
    pytest.importorskip("sentry_sdk")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    backend.latency = 0.05

    run(EXITING, backend.dsn, backend.otlp_endpoint)

    assert {item.kind for item in backend.items} == {
        "sentry.event",
        "otel.span",
        "otel.metric",
        "otel.log",
    }


def test_exit_with_a_hanging_sink_ends_within_the_budget(backend: TelemetrySink) -> None:
    pytest.importorskip("sentry_sdk")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    backend.otlp_behaviour = "hang"

    run(EXITING, backend.dsn, backend.otlp_endpoint, CTXKIT_FLUSH_TIMEOUT="0.2")

    assert [item.name for item in backend.items] == ["last words"]


def test_fork_hooks_do_not_wait_for_themselves(fresh_engine: engine.Engine) -> None:
    """A sink that forks within its own flush must not wait for that flush to end."""
    waited: list[bool] = []

    def fork() -> bool:
        fresh_engine.before_fork()
        waited.append(threading.current_thread().name == "ctxkit.flush.fake")
        return True

    add_sink(FakeSink(work=fork))

    assert flush(10).ok
    assert waited == [True]
