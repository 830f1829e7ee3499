"""What the boundaries add where both SDKs are in use and a request recorded nothing.

Sentry and OpenTelemetry (traces, metrics, logs) are initialised, as in production; the
contestants are the modes, and a wrapper that passes everything through.
"""

from __future__ import annotations

import asyncio
from time import process_time
from typing import TYPE_CHECKING, Any

from asgi import HEADERS, ID
from asgi import PassThrough as ASGIPassThrough
from asgi import application as asgi_application
from asgi import turn as asgi_turn
from flushing import sdks
from measuring import Row, Turn, beyond_rows, race

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MODES = ("never", "idle", "always")
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http",
    **{
        "HTTP_" + name.decode().upper().replace("-", "_"): value.decode()
        for name, value in [*HEADERS, ID]
    },
}


def measure(rounds: int) -> list[Row]:
    """Race the modes of both boundaries with a wrapper that does nothing."""
    with sdks():
        rows = beyond_rows(
            "WSGI boundary, both SDKs in use, nothing pending",
            race(_wsgi_turns(), rounds=rounds, calls=200),
        )
        loop = asyncio.new_event_loop()
        try:
            turns = {
                name: asgi_turn(loop, app, [*HEADERS, ID])
                for name, app in _contestants(
                    ASGIPassThrough(asgi_application), ctxkit.ASGIMiddleware, asgi_application
                ).items()
            }
            rows += beyond_rows(
                "ASGI boundary, both SDKs in use, nothing pending",
                race(turns, rounds=rounds, calls=200),
            )
        finally:
            loop.close()
    return rows


def _contestants(through: Any, middleware: Any, app: Any) -> dict[str, Any]:
    return {"pass-through": through, **{mode: middleware(app, mode=mode) for mode in MODES}}


def _application(_: object, start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


class _PassThrough:
    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app

    def __call__(self, environ: object, start_response: object) -> Iterable[bytes]:
        return self.app(environ, start_response)  # type: ignore[no-any-return]


def _wsgi_turns() -> dict[str, Turn]:
    apps = _contestants(_PassThrough(_application), ctxkit.WSGIMiddleware, _application)
    return {name: _wsgi_turn(app) for name, app in apps.items()}


def _wsgi_turn(app: Any) -> Turn:
    def start_response(status: str, headers: object, exc_info: object = None) -> object:
        return None

    def turn(calls: int) -> float:
        environs = [dict(ENVIRON) for _ in range(calls)]
        start = process_time()
        for environ in environs:
            for _ in app(environ, start_response):
                pass
        return process_time() - start

    return turn
