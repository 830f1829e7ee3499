"""What the host leaves of its time, and what becomes of a flush that it leaves none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import Exchange as ASGIExchange
from helpers.asgi import body, start
from helpers.land import GatedSink
from helpers.wsgi import Exchange

import ctxkit
from ctxkit.flushing import FlushReport, SinkStatus, add_sink, on_report, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment


class LambdaContext:
    aws_request_id = "0123"

    def __init__(self, millis: int) -> None:
        self.millis = millis

    def get_remaining_time_in_millis(self) -> int:
        return self.millis


@pytest.fixture
def reports() -> Iterator[list[FlushReport]]:
    heard: list[FlushReport] = []
    remove = on_report(heard.append)
    yield heard
    remove()


@pytest.fixture
def hanging() -> Iterator[GatedSink]:
    sink = GatedSink("hanging")
    add_sink(sink)
    yield sink
    remove_sink(sink)
    sink.gate.release(99)


def wsgi_app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


async def asgi_app(_: object, __: object, send: Any) -> None:
    await send(start())
    await send(body(b"ok"))


def check(reports: list[FlushReport], hanging: GatedSink) -> None:
    [report] = reports
    [result] = [each for each in report.results if each.sink == "hanging"]
    assert result.status is SinkStatus.SKIPPED_DEADLINE
    assert report.budget == 0.0
    assert report.request_id == "r-1"
    assert hanging.entered.acquire(timeout=10), "begun all the same"


def test_wsgi_response_whose_host_leaves_no_time_waits_for_nothing(
    reports: list[FlushReport], hanging: GatedSink
) -> None:
    context = LambdaContext(50)
    exchange = Exchange(environ={"aws.context": context, "HTTP_X_REQUEST_ID": "r-1"})

    exchange(ctxkit.WSGIMiddleware(wsgi_app, mode="always", timeout=20))

    assert exchange.body == b"ok"
    check(reports, hanging)


def test_asgi_response_whose_host_leaves_no_time_waits_for_nothing(
    reports: list[FlushReport], hanging: GatedSink
) -> None:
    headers = [(b"x-request-id", b"r-1")]
    exchange = ASGIExchange(headers=headers, **{"aws.context": LambdaContext(50)})

    asyncio.run(exchange(ctxkit.ASGIMiddleware(asgi_app, mode="always", timeout=20)))

    assert exchange.body == b"ok"
    check(reports, hanging)


def test_function_whose_host_leaves_no_time_waits_for_nothing(
    reports: list[FlushReport], hanging: GatedSink
) -> None:
    @ctxkit.flush_before_return(timeout=20)
    def handler(event: object, context: object) -> str:
        return "done"

    context = LambdaContext(50)
    context.aws_request_id = "r-1"

    assert handler({}, context) == "done"
    check(reports, hanging)


def test_timeout_of_cloud_run_is_the_deadline_of_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadlines: list[ctxkit.Deadline | None] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        deadlines.append(ctxkit.current().deadline)
        return wsgi_app(environ, start_response)

    monkeypatch.setenv("CLOUD_RUN_TIMEOUT_SECONDS", "300")
    Exchange()(ctxkit.WSGIMiddleware(app, mode="idle"))

    [deadline] = deadlines
    assert deadline is not None
    assert 200 < deadline.remaining() <= 300
