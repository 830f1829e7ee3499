"""What a task has recorded lands before its message is acknowledged, if that is done late."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import redis
from helpers.brokers import url_of
from helpers.celery_worker import Worker

import ctxkit
import ctxkit.contrib.celery
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ctxkit.testing import Item

PATIENCE = 20
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def sink() -> Iterator[TelemetrySink]:
    """Answer slowly, so that what is not waited for is seen to be late."""
    with TelemetrySink(latency=0.3) as running:
        yield running


@pytest.fixture(scope="module", params=[("redis", "first"), ("rabbitmq", "last")], ids="-".join)
def worker(
    request: pytest.FixtureRequest,
    sink: TelemetrySink,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Worker]:
    """Run a worker whose SDKs are set up before or after ctxkit."""
    broker, order = request.param
    environ = {**sink.environ, "SHOP_SDKS": order, "SHOP_MODE": "always"}
    folder = tmp_path_factory.mktemp("worker")
    with Worker(url_of(broker), redis_url, folder, environ=environ) as running:
        yield running


def acknowledged(redis_url: str, task_id: str) -> float:
    """Return when the worker has acknowledged the message of a task."""
    end = time.monotonic() + PATIENCE
    with redis.Redis.from_url(redis_url) as client:
        while time.monotonic() < end:
            noted = client.get(f"acknowledged:{task_id}")
            if noted:
                return float(noted)
            time.sleep(0.02)
    pytest.fail("the message was not acknowledged")


def of_task(sink: TelemetrySink, kind: str, task_id: str) -> Item:
    """Return what a task has recorded."""

    def is_it(item: Item) -> bool:
        return item.kind == kind and task_id in repr(item.data)

    [item, *_] = sink.wait_for(is_it, timeout=PATIENCE)
    return item


KINDS = ["sentry.event", "sentry.transaction", "otel.span"]


@pytest.mark.rule("F-91")
def test_telemetry_of_a_task_has_landed_when_its_message_is_acknowledged_late(
    worker: Worker, sink: TelemetrySink, redis_url: str
) -> None:
    result = worker.app.tasks["record_late"].delay("late")
    result.get(PATIENCE)
    left = acknowledged(redis_url, result.id)
    for kind in KINDS:
        assert of_task(sink, kind, result.id).acknowledged <= left, kind


def test_message_that_is_acknowledged_early_is_so_before_anything_has_landed(
    worker: Worker, sink: TelemetrySink, redis_url: str
) -> None:
    result = worker.app.tasks["record"].delay("early")
    result.get(PATIENCE)
    left = acknowledged(redis_url, result.id)
    for kind in KINDS:
        assert of_task(sink, kind, result.id).acknowledged > left, kind


def test_task_belongs_to_the_trace_of_whoever_sent_it(worker: Worker, sink: TelemetrySink) -> None:
    ctxkit.contrib.celery.install()
    try:
        with ctxkit.bind(traceparent=f"00-{TRACE}-b7ad6b7169203331-01"):
            result = worker.app.tasks["record"].delay("traced")
    finally:
        ctxkit.contrib.celery.uninstall()
    assert of_task(sink, "otel.span", result.id).trace_id == TRACE


def test_process_of_the_pool_that_ends_sends_what_is_left(
    sink: TelemetrySink, redis_url: str, tmp_path: Path
) -> None:
    environ = {**sink.environ, "SHOP_SDKS": "last", "SHOP_MODE": "never"}
    with Worker(redis_url, redis_url, tmp_path, environ=environ) as worker:
        result = worker.app.tasks["look"].delay()
        result.get(PATIENCE)
        assert worker.end() == 0
        assert of_task(sink, "otel.span", result.id)
