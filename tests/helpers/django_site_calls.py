"""Call WSGI and ASGI applications in this process, as the simplest server would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from django.test import RequestFactory

if TYPE_CHECKING:
    from collections.abc import Callable


def call_wsgi(
    app: Callable[..., Any], path: str, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one GET, with the response closed."""
    started: list[Any] = []
    environ = RequestFactory().get(path, headers=headers).environ
    body = app(environ, lambda status, fields, exc_info=None: started.append((status, fields)))
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    [(status, fields)] = started
    return int(status[:3]), {name.lower(): value for name, value in fields}, content


def call_asgi(
    app: Callable[..., Any], path: str, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one GET, when the application has returned."""
    return asyncio.run(acall_asgi(app, path, **headers))


async def acall_asgi(
    app: Callable[..., Any], path: str, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []
    request = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if request:
            return request.pop()
        return await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(http_scope(path, headers), receive, send)
    start, *bodies = sent
    fields = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], fields, b"".join(body.get("body", b"") for body in bodies)


def http_scope(path: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"testserver"),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


def lifespan(app: Callable[..., Any]) -> list[str]:
    """Take an application through its lifespan; return the types of what it sent."""
    events = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return events.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send))
    return sent
