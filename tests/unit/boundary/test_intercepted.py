"""Interceptors around requests, over WSGI and ASGI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from helpers import asgi, wsgi

import ctxkit
from ctxkit.boundary.intercepting import CHAIN
from ctxkit.exceptions import CtxkitError, DeadlineExceeded, KeyNotBoundError, PoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@pytest.fixture(autouse=True)
def clean_chain() -> Generator[None]:
    before = CHAIN.all
    yield
    CHAIN.replace(before)


def _over_wsgi(body: Callable[[], Any], middlewares: int = 1) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        answer = body()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [answer.encode()]

    for _ in range(middlewares):
        app = ctxkit.WSGIMiddleware(app)
    exchange = wsgi.Exchange()(app)
    return int(exchange.status[:3]), exchange.body, dict(exchange.headers)


def _over_asgi(body: Callable[[], Any], middlewares: int = 1) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        answer = body()
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.encode()})

    for _ in range(middlewares):
        app = ctxkit.ASGIMiddleware(app)
    exchange = asyncio.run(asgi.Exchange()(app))
    headers = {name.decode().title(): value.decode() for name, value in exchange.headers}
    return exchange.status, exchange.body, headers


@pytest.fixture(params=[_over_wsgi, _over_asgi], ids=["wsgi", "asgi"])
def serve(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.rule("F-61")
def test_interceptor_logs_the_same_of_a_request_and_of_calls_of_either_colour(serve: Any) -> None:
    log: list[str] = []

    @ctxkit.interceptor(at={"http", "call"})
    def noting(call: ctxkit.Call) -> Any:
        log.append("begin")
        result = yield call
        log.append("end")
        return result

    ctxkit.add_interceptor(noting)

    async def abody() -> str:
        log.append("body")
        return "x"

    serve(lambda: log.append("body") or "x")
    of_request = [*log]
    log.clear()
    ctxkit.function(lambda: log.append("body"))()
    of_call = [*log]
    log.clear()
    asyncio.run(ctxkit.function(abody)())
    assert of_request == of_call == log == ["begin", "body", "end"]


def test_interceptor_runs_in_the_frame_of_the_request_and_once_for_it(serve: Any) -> None:
    seen: list[Any] = []

    @ctxkit.interceptor(at={"http"})
    def noting(call: ctxkit.Call) -> Any:
        seen.append((call.name, call.kind, ctxkit.get("path"), call.frame is ctxkit.current()))
        with ctxkit.bind(tenant="acme"):
            return (yield call)

    ctxkit.add_interceptor(noting)
    status, body, _ = serve(lambda: ctxkit.get("tenant"), middlewares=2)
    assert (status, body) == (200, b"acme")
    assert seen == [("http GET", "http", "/", True)]


class UnknownStatusError(CtxkitError):
    """An error of a user's own, with a status that HTTP has no name for."""

    http_status = 599


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (PoolFull("images", 3), 503, b"503 Service Unavailable\n"),
        (DeadlineExceeded("quotes", 1.0), 504, b"504 Gateway Timeout\n"),
        (UnknownStatusError(), 599, b"599 Error\n"),
    ],
)
def test_error_of_ours_is_answered_with_its_status_and_told_to_the_log(
    serve: Any, error: Exception, status: int, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    error.retry_after = 2.4  # type: ignore[attr-defined]

    @ctxkit.interceptor(at={"http"})
    def refusing(call: ctxkit.Call) -> Any:
        raise error
        yield call

    ctxkit.add_interceptor(refusing)
    got, shown, headers = serve(pytest.fail)
    assert (got, shown) == (status, body)
    assert headers["Retry-After"] == "2"
    assert f"ctxkit.request.refused: {status}" in caplog.text


@pytest.mark.parametrize("error", [KeyNotBoundError("tenant"), ValueError("theirs")])
def test_any_other_error_goes_on(serve: Any, error: Exception) -> None:
    @ctxkit.interceptor(at={"http"})
    def passing(call: ctxkit.Call) -> Any:
        return (yield call)

    ctxkit.add_interceptor(passing)

    def body() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        serve(body)
    assert caught.value is error


def test_error_after_the_headers_have_left_goes_on() -> None:
    @ctxkit.interceptor(at={"http"})
    def passing(call: ctxkit.Call) -> Any:
        return (yield call)

    ctxkit.add_interceptor(passing)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise PoolFull("images", 0)

    with pytest.raises(PoolFull):
        asyncio.run(asgi.Exchange()(ctxkit.ASGIMiddleware(app)))
