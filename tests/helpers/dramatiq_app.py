"""A dramatiq application over a real Redis, for a worker of its own and for those who send to it.

What its actors saw is pushed to a list in that Redis.
"""

from __future__ import annotations

import json
import os
from contextvars import ContextVar
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO, GroupCallbacks
from dramatiq.rate_limits.backends.redis import RedisBackend
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend as ResultsBackend

import ctxkit
from ctxkit.contrib.dramatiq import ContextMiddleware, DramatiqEngine
from ctxkit.flushing import add_sink
from ctxkit.functions import set_engine

URL = os.environ["CTXKIT_TEST_REDIS"]
NAMESPACE = os.environ["CTXKIT_TEST_NAMESPACE"]
LOG = f"{NAMESPACE}:log"
#: Whether this is the worker, whose telemetry has to land.
WORKER = os.environ.get("CTXKIT_TEST_WORKER") == "1"

TENANT = ctxkit.Key[str]("app_tenant", hops={"thread", "wire"})
HERE = ctxkit.Key[str]("app_here")
FOREIGN: ContextVar[str | None] = ContextVar("foreign", default=None)

client = redis.Redis.from_url(URL)


def note(*what: object) -> None:
    client.rpush(LOG, json.dumps(what))


class Acknowledging(dramatiq.Middleware):
    def after_ack(self, broker: Any, message: Any) -> None:
        if WORKER:
            note(message.args[0], "acknowledged")


class NotedSink:
    """Stand for an exporter that always has something to send."""

    name = "noted"

    def pending(self) -> int | None:
        return None

    def flush(self, timeout: float) -> bool:
        note("", "flushed", ctxkit.get("invocation", None))
        return True


EVENTS: list[Any] = []


def watch_sentry() -> None:
    """Put Sentry's integration beside ours; its events are noted under the mark they carry."""
    import sentry_sdk  # noqa: PLC0415 - before the broker is made, as Sentry asks for
    from sentry_sdk.integrations.dramatiq import DramatiqIntegration  # noqa: PLC0415

    def keep(event: Any, _: Any) -> Any:
        trace = event["contexts"]["trace"]["trace_id"]
        note("sentry", event.get("type", "error"), trace, event.get("tags"))

    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        integrations=[DramatiqIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
        traces_sample_rate=1.0,
        before_send=keep,
        before_send_transaction=keep,
    )


watch_sentry()
broker: Any = RedisBroker(url=URL, namespace=NAMESPACE)
broker.add_middleware(GroupCallbacks(RedisBackend(url=URL)))
broker.add_middleware(AsyncIO())
broker.add_middleware(Results(backend=ResultsBackend(url=URL)))
broker.add_middleware(ContextMiddleware(mode="always" if WORKER else "never"))
broker.add_middleware(Acknowledging())
dramatiq.set_broker(broker)
set_engine(DramatiqEngine(broker, store_results=True))
if WORKER:
    add_sink(NotedSink())


def look(mark: str) -> None:
    note(mark, TENANT.get(None), HERE.get(None), FOREIGN.get(), ctxkit.get("request_id"))
    ctxkit.bind({TENANT: "left", HERE: "left"}).__enter__()
    FOREIGN.set("left")


@dramatiq.actor(max_retries=0, store_results=True)
def step(mark: str, *_: Any) -> str:
    look(mark)
    return mark


@dramatiq.actor(max_retries=0)
async def astep(mark: str) -> None:
    look(mark)


@dramatiq.actor(max_retries=2, min_backoff=1, max_backoff=5)
def fail(mark: str) -> None:
    look(mark)
    raise LookupError(mark)


@ctxkit.function
def charge(mark: str) -> str:
    look(mark)
    return f"charged {mark}"
