"""What a middleware adds to an ASGI application without a server and without a framework."""

from __future__ import annotations

import asyncio
from time import process_time
from typing import TYPE_CHECKING, Any

from asgi_correlation_id import CorrelationIdMiddleware
from measuring import Row, Turn, added_rows, race
from starlette_context.middleware import RawContextMiddleware
from starlette_context.plugins import RequestIdPlugin

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

ID = (b"x-request-id", b"0123456789abcdef0123456789abcdef")
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "server": ("127.0.0.1", 80),
    "client": ("127.0.0.1", 50000),
}
# What Firefox sends to a site behind a proxy.
HEADERS = [
    (b"host", b"shop.example"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"de,en-US;q=0.7,en;q=0.3"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://shop.example/"),
    (b"cookie", b"csrftoken=4rT0bVdD2kqW8nZ1; sessionid=q2w3e4r5t6z7u8i9"),
    (b"sec-fetch-dest", b"document"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-site", b"same-origin"),
    (b"x-forwarded-for", b"203.0.113.7"),
    (b"x-forwarded-proto", b"https"),
]


async def application(scope: dict[str, Any], receive: object, send: Callable[..., Any]) -> None:
    """Answer."""
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


async def _waiting_app(scope: dict[str, Any], receive: object, send: Callable[..., Any]) -> None:
    await asyncio.sleep(0)
    await application(scope, receive, send)


class PassThrough:
    """The least that a middleware can be."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        await self.app(scope, receive, send)


def measure(rounds: int) -> list[Row]:
    """Race the middlewares: with an id to take over, with one to make, with a pause."""
    rows: list[Row] = []
    loop = asyncio.new_event_loop()
    try:
        for table, app, headers in (
            ("ASGI, id taken over", application, [*HEADERS, ID]),
            ("ASGI, id made", application, HEADERS),
            ("ASGI, id taken over, the application pauses once", _waiting_app, [*HEADERS, ID]),
        ):
            apps = {
                "bare application": app,
                "pass-through": PassThrough(app),
                "ctxkit.ASGIMiddleware": ctxkit.ASGIMiddleware(app),
                "asgi-correlation-id": CorrelationIdMiddleware(app),
                "starlette-context": RawContextMiddleware(app, plugins=[RequestIdPlugin()]),
            }
            turns = {name: turn(loop, each, headers) for name, each in apps.items()}
            times = race(turns, rounds=rounds, calls=100)
            rows += added_rows(table, times, "asgi-correlation-id")
    finally:
        loop.close()
    return rows


def turn(loop: asyncio.AbstractEventLoop, app: Any, headers: list[tuple[bytes, bytes]]) -> Turn:
    """Return the turn that sends requests with ``headers`` to ``app``."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: object) -> None:
        pass

    async def batch(calls: int) -> float:
        scopes = [{**SCOPE, "headers": list(headers)} for _ in range(calls)]
        start = process_time()
        for scope in scopes:
            await app(scope, receive, send)
        return process_time() - start

    return lambda calls: loop.run_until_complete(batch(calls))
