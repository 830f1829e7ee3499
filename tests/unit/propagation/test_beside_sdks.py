"""Sentry's and OpenTelemetry's own threading integrations, installed before and after.

What they patch cannot be taken back, so each order has an interpreter of its own.
"""

from __future__ import annotations

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
    ctxkit.Thread, ctxkit.ThreadPoolExecutor, ctxkit.to_thread

for step in sys.argv[1].split("-"):
    {"sentry": sentry, "otel": otel, "ours": ours}[step]()

import ctxkit
threading.excepthook = lambda args: None

class Request: ...

class Overriding(ctxkit.Thread):
    def __init__(self, job):
        super().__init__()
        self.job = job
    def run(self):
        self.job()

def run_thread(job):
    thread = ctxkit.Thread(target=job); thread.start(); thread.join(10)

def run_subclass(job):
    thread = Overriding(job); thread.start(); thread.join(10)

def run_timer(job):
    timer = ctxkit.Timer(0, job); timer.start(); timer.join(10)

pool = ctxkit.ThreadPoolExecutor(1)

async def in_loop(start, job):
    result = start(job)
    await result

carriers = {
    "Thread": run_thread,
    "subclass": run_subclass,
    "Timer": run_timer,
    "submit": lambda job: pool.submit(job).exception(10),
    "map": lambda job: list(pool.map(lambda _: job(), [1])),
    "to_thread": lambda job: asyncio.run(in_loop(ctxkit.to_thread, job)),
    "run_in_executor": lambda job: asyncio.run(
        in_loop(lambda job: ctxkit.run_in_executor(None, job), job)),
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
events.clear()
run_thread(lambda: 1 / 0)
[error] = events
assert error["exception"]["values"][0]["type"] == "ZeroDivisionError", error

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
        await ctxkit.create_task(child())
        events.clear()
        sentry_sdk.capture_message("parent")
        assert events[0]["tags"] == {"request": "task"}, events[0]["tags"]
asyncio.run(tasks())
pool.shutdown()
print("ok")
'''


@pytest.mark.parametrize("order", ["sentry-otel-ours", "ours-otel-sentry", "otel-ours-sentry"])
def test_parent_and_child_are_right_in_each_sdk_in_any_order(order: str) -> None:
    assert run_script(BESIDE, order) == "ok\n"
