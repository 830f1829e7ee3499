"""Sentry's and OpenTelemetry's own threading integrations, installed before and after.

What they patch cannot be taken back, so each order has an interpreter of its own.
"""

from __future__ import annotations

import sys

import pytest
from helpers.follow import run_script

pytest.importorskip("sentry_sdk")
pytest.importorskip("opentelemetry.sdk.trace")
pytest.importorskip("opentelemetry.instrumentation.threading")

BESIDE = '''
import asyncio, gc, sys, threading, weakref
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.transport import Transport
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.instrumentation.threading import ThreadingInstrumentor

events = []

class Recorder(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            events.append(event)

def sentry():
    sentry_sdk.init(
        dsn="http://public@127.0.0.1:1/1",
        transport=Recorder,
        default_integrations=False,
        integrations=[ThreadingIntegration()],
    )

def otel():
    trace.set_tracer_provider(TracerProvider())
    ThreadingInstrumentor().instrument()

def ours():
    import ctxkit
    if installed:
        ctxkit.install()
    else:
        ctxkit.Thread, ctxkit.ThreadPoolExecutor, ctxkit.to_thread

order, how = sys.argv[1:]
installed = how == "installed"
for step in order.split("-"):
    {"sentry": sentry, "otel": otel, "ours": ours}[step]()

import ctxkit
threading.excepthook = lambda args: None

if installed:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Thread, Timer
    def create_task(coro):
        # Not patched: asyncio carries the context, and forks no scopes.
        return ctxkit.create_task(coro)
    def to_thread(job):
        return asyncio.to_thread(job)
    def run_in_executor(executor, job):
        return asyncio.get_running_loop().run_in_executor(executor, job)
else:
    from ctxkit import Thread, ThreadPoolExecutor, Timer, create_task, run_in_executor, to_thread

class Request: ...

class Overriding(Thread):
    def __init__(self, job):
        super().__init__()
        self.job = job
    def run(self):
        self.job()

def run_thread(job):
    thread = Thread(target=job); thread.start(); thread.join(10)

def run_subclass(job):
    thread = Overriding(job); thread.start(); thread.join(10)

def run_timer(job):
    timer = Timer(0, job); timer.start(); timer.join(10)

pool = ThreadPoolExecutor(1)

async def in_loop(start, job):
    result = start(job)
    await result

carriers = {
    "Thread": run_thread,
    "subclass": run_subclass,
    "Timer": run_timer,
    "submit": lambda job: pool.submit(job).exception(10),
    "map": lambda job: list(pool.map(lambda _: job(), [1])),
    "to_thread": lambda job: asyncio.run(in_loop(to_thread, job)),
    "run_in_executor": lambda job: asyncio.run(
        in_loop(lambda job: run_in_executor(None, job), job)),
    "propagate": lambda job: run_plain(ctxkit.propagate(job)),
}

def run_plain(job):
    thread = threading.Thread(target=job); thread.start(); thread.join(10)

tracer = trace.get_tracer("test")

def request(carrier, name):
    """One request: a scope, a span and a frame of its own."""
    with sentry_sdk.isolation_scope() as scope, tracer.start_as_current_span(name) as span:
        sentry_sdk.set_tag("request", name)
        body = Request()
        seen = {}
        def job():
            seen["span"] = trace.get_current_span().get_span_context().span_id
            seen["tenant"] = ctxkit.get("tenant")
            sentry_sdk.set_tag("child", name)
            sentry_sdk.get_current_scope().set_tag("current", name)
            sentry_sdk.capture_message("child of " + name)
        with ctxkit.bind(tenant=name, body=body):
            carriers[carrier](job)
        sentry_sdk.capture_message("parent " + name)
        assert seen == {"span": span.get_span_context().span_id, "tenant": name}, (carrier, seen)
        return weakref.ref(body)

def check(carrier):
    events.clear()
    gone = [request(carrier, name) for name in ("alice", "bob")]
    tags = {event["message"]: event.get("tags") for event in events}
    expected = {}
    for name in ("alice", "bob"):
        expected["child of " + name] = {"request": name, "child": name, "current": name}
        expected["parent " + name] = {"request": name}
    assert len(events) == 4, (carrier, [event["message"] for event in events])
    assert tags == expected, (carrier, tags)
    if carrier in ("submit", "map"):
        pool.submit(int).result(10)
    gc.collect()
    assert [each() for each in gone] == [None, None], (carrier, "is kept alive")

for carrier in carriers:
    check(carrier)

# An error in a thread is reported once, as without us.
def crash():
    sentry_sdk.set_tag("child", "crashed")
    1 / 0

# OpenTelemetry's Timer.start leads past whoever patches Thread.start after it.
for run in (run_thread, run_subclass, *([run_timer] if order.startswith("sentry") else [])):
    events.clear()
    with sentry_sdk.isolation_scope():
        sentry_sdk.set_tag("request", "crashing")
        run(crash)
    [error] = events
    assert error["exception"]["values"][0]["type"] == "ZeroDivisionError", error
    if installed:
        assert error["tags"] == {"request": "crashing", "child": "crashed"}, error["tags"]

# A tag set after the submission is the parent's alone.
go = threading.Event()
with sentry_sdk.isolation_scope():
    pool.submit(go.wait, 10)
    events.clear()
    later = pool.submit(lambda: sentry_sdk.capture_message("job"))
    sentry_sdk.set_tag("later", "yes")
    go.set()
    later.result(10)
    assert "later" not in (events[0].get("tags") or {}), events[0]["tags"]

async def tasks():
    async def child():
        sentry_sdk.set_tag("child", "task")
    with sentry_sdk.isolation_scope():
        sentry_sdk.set_tag("request", "task")
        await create_task(child())
        events.clear()
        sentry_sdk.capture_message("parent")
        assert events[0]["tags"] == {"request": "task"}, events[0]["tags"]
asyncio.run(tasks())
pool.shutdown()

def span_in_thread():
    seen = []
    with tracer.start_as_current_span("parent") as span, ctxkit.bind(tenant="alice"):
        run_thread(lambda: seen.append((trace.get_current_span() is span, ctxkit.get("tenant"))))
        run_timer(lambda: seen.append((trace.get_current_span() is span, ctxkit.get("tenant"))))
    return seen

if installed:
    if order.startswith("ours"):
        ctxkit.uninstall()
        # Whether OpenTelemetry still does its own is between Sentry and it.
        assert [tenant for _, tenant in span_in_thread()] == [None, None]
        ThreadingInstrumentor().uninstrument()
        assert span_in_thread() == [(False, None)] * 2
    else:
        ThreadingInstrumentor().uninstrument()
        assert span_in_thread() == [(True, "alice")] * 2, "we carry all that is there"
        ctxkit.uninstall()
        assert span_in_thread() == [(False, None)] * 2
    ctxkit.install()
    assert span_in_thread() == [(True, "alice")] * 2
print("ok")
'''


@pytest.mark.parametrize("how", ["explicit", "installed"])
@pytest.mark.parametrize("order", ["sentry-otel-ours", "ours-otel-sentry", "otel-ours-sentry"])
def test_parent_and_child_are_right_in_each_sdk_in_any_order(order: str, how: str) -> None:
    assert run_script(BESIDE, order, how) == "ok\n"


INFRASTRUCTURE = """
import asyncio, gc, logging, logging.handlers, multiprocessing, queue, sys, threading, weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
import ctxkit
import anyio.from_thread
import asgiref.sync
import sentry_sdk
from sentry_sdk.integrations.threading import ThreadingIntegration
from opentelemetry import context
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

class Request: ...

def sentry():
    sentry_sdk.init(
        dsn="http://public@127.0.0.1:1/1",
        default_integrations=False,
        integrations=[ThreadingIntegration()],
        traces_sample_rate=1.0,
        profiles_sample_rate=1.0,
        auto_session_tracking=True,
        enable_logs=True,
        shutdown_timeout=0,
    )

def threads_of_sentry():
    sentry_sdk.get_isolation_scope().start_session()
    with sentry_sdk.start_transaction(name="request", sampled=True):
        sentry_sdk.capture_message("hello")
    sentry_sdk.get_isolation_scope().end_session()

steps = {
    "sentry": sentry,
    "otel": ThreadingInstrumentor().instrument,
    "ours": ctxkit.install,
}
for step in sys.argv[1].split("-"):
    steps[step]()

kept = []

def start_everything():
    threads_of_sentry()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    silent = ConsoleMetricExporter(formatter=lambda data: "")
    reader = PeriodicExportingMetricReader(silent, export_interval_millis=60000)
    records = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records)
    listener.start()
    pool, jobs = ThreadPool(1), ThreadPoolExecutor(1)
    pool.apply(int)
    jobs.submit(int).result()
    feeder = multiprocessing.Queue()
    feeder.put(1)
    portal = anyio.from_thread.start_blocking_portal()
    loop.run_until_complete(asyncio.to_thread(int))
    loop.run_until_complete(asgiref.sync.sync_to_async(int)())
    portal.__enter__().call(anyio.to_thread.run_sync, int)
    kept.extend([provider, reader, MeterProvider([reader]), listener, pool, jobs, feeder, portal])

loop = asyncio.new_event_loop()  # a loop keeps the context that it is made in
before = set(threading.enumerate())

def request():
    body = Request()
    # In the frame, in Sentry's scope and in OpenTelemetry's context.
    with ctxkit.bind(body=body), sentry_sdk.isolation_scope() as scope:
        scope.add_event_processor(lambda event, hint: event if body else None)
        token = context.attach(context.set_value("body", body))
        start_everything()
        context.detach(token)
    return weakref.ref(body)

gone = request()
kept[5].submit(int).result()
kept[4].apply(int)
gc.collect()
started = set(threading.enumerate()) - before
for thread in started:
    print(thread)
print("kept" if gone() is not None else "gone")
sys.stdout.flush()
import os
os._exit(0)
"""
# By the names of the threads, which say the target from Python 3.10 on.
_SERVING = {
    "BackgroundWorker": "sentry-sdk.BackgroundWorker",
    "sessions": "(_thread)",
    "profiler": "sentry.profiler",
    "spans": "OtelBatchSpanRecordProcessor",
    "metrics": "OtelPeriodicExportingMetricReader",
    "listener": "_monitor",
    "pool": "_handle_workers",
    "worker": "(worker)",
    "executor": "ThreadPoolExecutor",
    "feeder": "QueueFeederThread",
    "portal": "portal",
    "loop": "asyncio_0",
    "anyio": "AnyIO worker thread",
}


@pytest.mark.parametrize("inheriting", [False, True])
@pytest.mark.parametrize("order", ["ours-sentry-otel", "sentry-otel-ours", "otel-ours-sentry"])
def test_threads_that_serve_everybody_keep_nothing_of_the_request_they_start_in(
    *, order: str, inheriting: bool
) -> None:
    pytest.importorskip("anyio")
    if inheriting and sys.version_info < (3, 14):
        pytest.skip("the flag came with Python 3.14")
    options = ("-X", "thread_inherit_context=1") if inheriting else ()
    printed = run_script(INFRASTRUCTURE, order, options=options)
    assert {what: name for what, name in _SERVING.items() if name not in printed} == {}
    assert printed.endswith("gone\n")
