"""A shop whose tasks say what they see; what `celery worker` runs, and tests send to."""

from __future__ import annotations

import os
import signal
import time
from contextvars import ContextVar
from typing import Any

import celery
import redis
from celery.worker.request import Request

import ctxkit
import ctxkit.contrib.celery

TENANT = ctxkit.Key[str]("tenant", hops={"thread", "wire"})
DRAFT = ctxkit.Key[str]("draft")  # goes nowhere by itself
foreign: ContextVar[str | None] = ContextVar("foreign", default=None)
local = ctxkit.Local()


def seen() -> dict[str, Any]:
    """Return what can be seen from here."""
    return {
        "tenant": TENANT.get(None),
        "request_id": ctxkit.get("request_id"),
        "invocation": ctxkit.get("invocation"),
        "draft": DRAFT.get(None),
        "foreign": foreign.get(),
        "local": getattr(local, "value", None),
        "pid": os.getpid(),
    }


@ctxkit.function
def spawned(word: str, *, times: int = 1) -> dict[str, Any]:
    """Be spawned, through Celery."""
    return {**seen(), "said": word * times}


@ctxkit.function
async def aspawned() -> dict[str, Any]:
    return seen()


def make_app(broker: str | None, results: str | None, queue: str = "celery") -> celery.Celery:
    """Return an application with all the tasks, for a broker of one's own."""
    app = celery.Celery("shop", broker=broker, backend=results, set_as_current=False)
    app.conf.update(
        task_default_queue=queue,
        task_track_started=False,
        result_expires=120,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_lost_wait=0.2,
        broker_connection_retry_on_startup=True,
    )
    for task in _TASKS:
        app.task(name=task.__name__, bind=True)(task)
    for task in (record_late, die_once):
        app.tasks[task.__name__].acks_late = True
    app.tasks["die_once"].reject_on_worker_lost = True
    app.tasks["die_once_more"].retry_on_worker_lost = True  # from Celery 5.7 on
    app.tasks["die_once_more"].default_retry_delay = 0
    app.tasks["time_left"].time_limit = 300
    return app


def look(task: Any, *_: Any) -> dict[str, Any]:
    return seen()


def look_twice(task: Any) -> list[dict[str, Any]]:
    """See before and after others have had their turn."""
    foreign.set(task.request.id)
    before = seen()
    time.sleep(0.2)
    return [before, seen()]


def echo(task: Any, text: str) -> str:
    return text


@ctxkit.interceptor(at={"task"})
def louder(call: ctxkit.Call) -> Any:
    """Raise the voice of one task."""
    if call.name == "echo":
        call = call.replace(args=(f"{call.args[0]}!",))
    return (yield call)


def add_sight(task: Any, before: list[Any]) -> list[Any]:
    """Add what is seen here to what those before have seen."""
    return [*before, seen()]


def gather(task: Any, parts: list[Any]) -> list[Any]:
    """Return what the parts of a chord have seen, and what its callback sees."""
    return [*(sight for part in parts for sight in part), seen()]


def stain(task: Any) -> dict[str, Any]:
    """Leave behind whatever can be left behind."""
    before = seen()
    ctxkit.bind({TENANT: "stain", DRAFT: "stain"}, request_id="stain").__enter__()
    foreign.set("stain")
    local.value = "stain"
    return before


def try_again(task: Any, before: list[Any], most: int = 2) -> list[Any]:
    """Add what is seen in each try."""
    found = [*before, seen()]
    if task.request.retries < most:
        raise task.retry(args=(found, most), countdown=0, max_retries=most)
    return found


def fail(task: Any) -> None:
    raise LookupError("as planned")


def _count(task: Any) -> int:
    client = redis.Redis.from_url(os.environ["SHOP_NOTES"])
    return client.incr(f"count:{task.request.id}")


def die_once(task: Any) -> dict[str, Any]:
    """Be killed when delivered first."""
    if _count(task) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return seen()


def die_once_more(task: Any) -> dict[str, Any]:
    """Be killed when delivered first; what comes then is a new message."""
    return die_once(task)


def time_left(task: Any) -> float | None:
    deadline = ctxkit.current().deadline
    return deadline and deadline.remaining()


def die(task: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def record(task: Any, text: str) -> None:
    """Record something, as Sentry's and OpenTelemetry's users do."""
    import sentry_sdk  # noqa: PLC0415 - for some workers

    sentry_sdk.capture_message(text)


def record_late(task: Any, text: str) -> None:
    """Record something; acknowledged late."""
    record(task, text)


def nest(task: Any) -> list[dict[str, Any]]:
    """See, and have seen by a task that is applied here and now."""
    with ctxkit.bind({TENANT: "nested", DRAFT: "nested"}):
        foreign.set("outer")
        inner = task.app.tasks["stain"].apply().result
        return [inner, seen()]


_TASKS = [
    echo,
    look,
    look_twice,
    add_sight,
    gather,
    stain,
    try_again,
    fail,
    die,
    die_once,
    die_once_more,
    time_left,
    record,
    record_late,
    nest,
]


def _note_acknowledgements() -> None:
    """Note when each message is acknowledged, where the tests look for it."""
    notes = redis.Redis.from_url(os.environ["SHOP_NOTES"])
    acknowledge = Request.acknowledge

    def noting(self: Request) -> None:
        if not self.acknowledged:
            notes.set(f"acknowledged:{self.id}", repr(time.time()), ex=120)
        acknowledge(self)

    Request.acknowledge = noting


def _set_up_sdks() -> None:
    import sentry_sdk  # noqa: PLC0415 - for some workers
    from celery.signals import worker_process_init  # noqa: PLC0415
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from sentry_sdk.integrations.celery import CeleryIntegration  # noqa: PLC0415

    sentry_sdk.init(
        os.environ["SENTRY_DSN"],
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[CeleryIntegration()],
    )

    @worker_process_init.connect(weak=False)
    def trace_here(**_: object) -> None:  # as OpenTelemetry's documentation has it
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=10)))
        trace.set_tracer_provider(provider)

    CeleryInstrumentor().instrument()


def start() -> celery.Celery:
    """Do what the module of a real application does, as its worker loads it."""
    order = os.environ.get("SHOP_SDKS", "")
    if order == "first":
        _set_up_sdks()
    ctxkit.contrib.celery.install(mode=os.environ.get("SHOP_MODE"), timeout=10)
    if order == "last":
        _set_up_sdks()
    app = make_app(os.environ["SHOP_BROKER"], os.environ["SHOP_NOTES"], os.environ["SHOP_QUEUE"])
    app.set_current()
    ctxkit.add_interceptor(louder)
    _note_acknowledgements()
    return app


if "SHOP_BROKER" in os.environ:
    app = start()
