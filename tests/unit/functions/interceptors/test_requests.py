"""Built-in interceptors around requests: the same that are around functions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from helpers import asgi, wsgi

import ctxkit
from ctxkit.boundary.intercepting import CHAIN
from ctxkit.functions import Pool
from ctxkit.functions.interceptors import limit, log, requires, span, timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

SOON, LONG = 0.02, 30.0


@pytest.fixture(autouse=True)
def clean_chain() -> Generator[None]:
    before = CHAIN.all
    yield
    CHAIN.replace(before)


def _over_wsgi(body: Callable[[], Any]) -> int:
    def app(environ: Any, start_response: Any) -> Any:
        answer = body()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [answer]

    return int(wsgi.Exchange()(ctxkit.WSGIMiddleware(app)).status[:3])


def _over_asgi(body: Callable[[], Any]) -> int:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        answer = body()
        if answer is None:
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer})

    return int(asyncio.run(asgi.Exchange()(ctxkit.ASGIMiddleware(app))).status)


@pytest.fixture(params=[_over_wsgi, _over_asgi], ids=["wsgi", "asgi"])
def serve(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.rule("F-61")
def test_request_without_a_place_is_answered_at_once(serve: Any) -> None:
    pool = Pool.static(1, 0)
    busy: list[int] = []
    ctxkit.add_interceptor(limit(pool, at={"http"}))
    slot = pool.acquire()
    assert serve(lambda: b"") == 503
    slot.release()
    assert serve(lambda: busy.append(pool.stats().busy) or b"") == 200
    assert busy == [1]
    assert pool.stats().busy == 0


@pytest.mark.rule("F-61")
def test_request_knows_its_deadline(serve: Any) -> None:
    ctxkit.add_interceptor(timeout(LONG, at={"http"}))
    left: list[float | None] = []
    assert serve(lambda: left.append(ctxkit.remaining()) or b"") == 200
    assert 0 < (left[0] or 0) <= LONG


def test_request_that_takes_too_long_is_cancelled_and_answered() -> None:
    ctxkit.add_interceptor(timeout(SOON, at={"http"}))
    assert _over_asgi(lambda: None) == 504


def test_request_that_takes_too_long_ends_at_its_next_checkpoint() -> None:
    ctxkit.add_interceptor(timeout(SOON, at={"http"}))

    def body() -> None:
        while True:
            ctxkit.checkpoint()

    assert _over_wsgi(body) == 504


def test_request_is_logged_by_its_method(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    for each in (span(at={"http"}), log(at={"http"}), requires("method", at={"http"})):
        ctxkit.add_interceptor(each)
    with caplog.at_level("INFO", "ctxkit.functions"):
        assert serve(lambda: b"") == 200
    assert caplog.messages[0] == "ctxkit.call.begin: http GET"


def test_method_that_nobody_knows_is_no_name_of_its_own() -> None:
    names: list[str] = []

    @ctxkit.interceptor(at={"http"})
    def named(call: Any) -> Any:
        names.append(call.name)
        return (yield call)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    ctxkit.add_interceptor(named)
    for method in ("PUT", "QUERY", "put", "X-7f3a"):
        asyncio.run(asgi.Exchange(method=method)(ctxkit.ASGIMiddleware(app)))
    assert names == ["http PUT", "http QUERY", "http _OTHER", "http _OTHER"]
