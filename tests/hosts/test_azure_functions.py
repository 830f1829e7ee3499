"""Azure Functions: the real package's adapters, called as its worker calls them.

The worker itself is a program of Microsoft's host and cannot run here.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

func = pytest.importorskip("azure.functions")
from helpers.timeline import recording_sink  # noqa: E402 - after the skip

import ctxkit  # noqa: E402
from ctxkit.lifecycle import detect  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers.timeline import RecordingSink


@pytest.fixture
def timeline() -> list[object]:
    return []


@pytest.fixture
def sink(timeline: list[object]) -> Iterator[RecordingSink]:
    with recording_sink(timeline) as sink:
        yield sink


def request() -> Any:
    return func.HttpRequest(
        method="GET",
        url="https://served.azurewebsites.net/api/shop?a=1",
        headers={"X-Request-ID": "r-1"},
        params={"a": "1"},
        body=b"",
    )


def http_function(app: Any) -> Any:
    """Return the function that the worker would call, out of a FunctionApp."""
    [function] = app.get_functions()
    return function.get_user_function()


def test_wsgi_response_is_handed_to_the_worker_when_it_has_landed(
    sink: RecordingSink, timeline: list[object]
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"ab"
        timeline.append(ctxkit.get("request_id"))
        yield b"cd"
        timeline.append("exhausted")

    def app(environ: Any, start_response: Any) -> Any:
        start_response("201 Created", [("Content-Type", "text/plain")])
        return parts()

    served = http_function(func.WsgiFunctionApp(ctxkit.WSGIMiddleware(app, mode="idle")))
    response = served(request(), None)
    assert (response.status_code, response.get_body()) == (201, b"abcd")
    assert response.headers["X-Request-ID"] == "r-1"
    assert timeline == ["r-1", "exhausted", "flush"]


def test_asgi_response_is_handed_to_the_worker_when_it_has_landed(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for _ in range(2):
                kind = (await receive())["type"]
                timeline.append(kind)
                await send({"type": f"{kind}.complete"})
            return
        assert (await receive())["type"] == "http.request"
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})
        # Azure's would poll for the end, which is held.
        assert (await receive())["type"] == "http.disconnect"
        timeline.append(ctxkit.get("request_id"))

    async def work() -> None:
        azure = func.AsgiFunctionApp(ctxkit.ASGIMiddleware(app, mode="idle"))
        served = http_function(azure)
        for _ in range(2):
            response = await served(request(), None)
            assert (response.status_code, response.get_body()) == (201, b"abcd")
            assert response.headers["X-Request-ID"] == "r-1"
            timeline.append("response")
        await azure.middleware.notify_shutdown()
        azure.startup_task_done = False  # or it begins a loop of its own when it is dropped

    asyncio.run(work())
    once = ["r-1", "flush", "response"]
    assert timeline[:8] == ["lifespan.startup", *once, *once, "lifespan.shutdown"]
    assert timeline[8:]
    assert set(timeline[8:]) == {"flush"}


def test_asgi_response_in_a_loop_of_its_own_is_landed_too(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab"})
        timeline.append("returned")

    served = func.AsgiMiddleware(ctxkit.ASGIMiddleware(app, mode="idle"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        response = served.main(request(), None)
    assert response.get_body() == b"ab"
    assert timeline == ["returned", "flush"]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_function_that_flushes_before_it_returns_has_landed(
    kind: str, sink: RecordingSink, timeline: list[object]
) -> None:
    azure = func.FunctionApp()

    if kind == "def":

        @azure.route("shop")
        @ctxkit.flush_before_return
        def shop(req: Any) -> Any:
            timeline.append(req.params["a"])
            return func.HttpResponse("bought")

        response = http_function(azure)(request())
    else:

        @azure.route("shop")
        @ctxkit.flush_before_return
        async def ashop(req: Any) -> Any:
            timeline.append(req.params["a"])
            return func.HttpResponse("bought")

        response = asyncio.run(http_function(azure)(request()))
    assert response.get_body() == b"bought"
    assert timeline == ["1", "flush"]


def test_host_is_told_by_its_variable() -> None:
    found = detect({"FUNCTIONS_WORKER_RUNTIME": "python"})
    assert (found.name, found.hold) == ("azure-functions", "idle")
