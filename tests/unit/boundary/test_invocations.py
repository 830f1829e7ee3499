"""What boundaries tell the environment."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import HTTP
from helpers.wsgi import Exchange

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = ctxkit.environment()
CONTEXT = SimpleNamespace(aws_request_id="abc", get_remaining_time_in_millis=lambda: 3000)


@pytest.fixture
def resets() -> Iterator[list[int]]:
    """How many invocations had begun at the end of each."""
    resets: list[int] = []
    start = ENVIRONMENT.invocations
    hook = ctxkit.on_reset(lambda: resets.append(ENVIRONMENT.invocations - start))
    yield resets
    hook.remove()


def page(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"one"
    yield b"two"


def broken(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    raise ValueError("broken")


def test_invocation_whose_reset_ends_the_process_is_over_all_the_same() -> None:
    ended: list[int] = []

    def reset() -> None:
        ended.append(1)
        raise SystemExit

    hook = ctxkit.on_reset(reset)
    block = ctxkit.invocation("work")
    try:
        with pytest.raises(SystemExit), block:
            invocation: Any = block._invocation
        invocation.close()
    finally:
        hook.remove()
    assert ended == [1]
    assert not invocation.open
    assert not invocation.frame


@pytest.mark.parametrize("mode", ["always", "never"])
def test_wsgi_request_is_one_invocation(mode: str, resets: list[int]) -> None:
    app = ctxkit.WSGIMiddleware(page, mode=mode)

    Exchange()(app)
    assert resets == [1]
    Exchange()(app)
    assert resets == [1, 2]


@pytest.mark.parametrize("mode", ["always", "never"])
def test_wsgi_request_that_fails_or_is_broken_off_is_over_once(
    mode: str, resets: list[int]
) -> None:
    with pytest.raises(ValueError, match="broken"):
        Exchange()(ctxkit.WSGIMiddleware(broken, mode=mode))
    assert resets == [1]

    Exchange(give_up_after=1)(ctxkit.WSGIMiddleware(page, mode=mode))
    assert resets == [1, 2]


@pytest.mark.parametrize("mode", ["always", "never"])
def test_wsgi_request_whose_response_is_dropped_unclosed_is_over_once(
    mode: str, resets: list[int]
) -> None:
    def careless(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        return [next(iter(app(environ, start_response)))]

    app = ctxkit.WSGIMiddleware(page, mode=mode)
    Exchange()(careless)
    gc.collect()
    assert resets == [1]


def test_wsgi_boundary_in_another_one_is_no_invocation_of_its_own(resets: list[int]) -> None:
    Exchange()(ctxkit.WSGIMiddleware(ctxkit.WSGIMiddleware(page, mode="never"), mode="never"))

    assert resets == [1]


@pytest.mark.parametrize("mode", ["always", "never"])
def test_asgi_request_is_one_invocation(mode: str, resets: list[int]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None: ...

    asyncio.run(ctxkit.ASGIMiddleware(app, mode=mode)(dict(HTTP), receive, send))  # type: ignore[arg-type]

    assert resets == [1]


def test_lambda_handler_is_one_invocation_with_the_boundary_inside(resets: list[int]) -> None:
    app = ctxkit.WSGIMiddleware(page, mode="never")

    @ctxkit.flush_before_return
    def handler(event: object, context: object) -> bytes:
        return Exchange()(app).body

    assert handler({}, CONTEXT) == b"onetwo"
    assert resets == [1]


def test_async_lambda_handler_that_fails_is_over_once(resets: list[int]) -> None:
    @ctxkit.flush_before_return
    async def handler(event: object, context: object) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(handler({}, CONTEXT))
    assert resets == [1]


def test_view_with_its_own_flush_is_no_invocation(resets: list[int]) -> None:
    @ctxkit.flush_before_return
    def view() -> int:
        return 1

    view()

    assert resets == []


def test_lifespan_begins_what_waits_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.startup.complete"})

    async def send(message: Any) -> None:
        began.append(message["type"])

    monkeypatch.setattr("ctxkit.boundary.asgi.begin_lifespan", lambda: began.append("init"))
    middleware = ctxkit.ASGIMiddleware(app, mode="never")
    asyncio.run(middleware({"type": "lifespan"}, None, send))  # type: ignore[arg-type]

    assert began == ["init", "lifespan.startup.complete"]
