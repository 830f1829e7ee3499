"""The applications that the server tests run: one in WSGI and one in ASGI, the same paths.

A path that begins with ``/never`` holds nothing; any other is in the mode of the environment.

What they record for the paths that are answered here is an id per request, appended at the
very end of the application. The sink takes its time, and writes the ids it has delivered to
the file in ``SERVED_LOG``: so whoever looks into that file sees what had landed at that
moment. The other paths are those of served_wsgi.py and served_asgi.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import served_asgi, served_wsgi

import ctxkit
from ctxkit.flushing import add_sink

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0  # seconds
LATENCY = 0.1

log = Path(os.environ["SERVED_LOG"])
recorded: list[str] = []


class Delivering:
    """Deliver what was recorded, slowly."""

    name = "delivering"

    def pending(self) -> int:
        return len(recorded)

    def flush(self, timeout: float) -> bool:
        taken = recorded[:]
        time.sleep(LATENCY)
        with log.open("a") as file:
            file.writelines(f"{each}\n" for each in taken)
        del recorded[: len(taken)]
        return True


add_sink(Delivering())


def record() -> None:
    recorded.append(str(ctxkit.get("request_id")))


def acknowledged(request_id: str) -> bool:
    return log.with_name(f"{request_id}.ack").exists()


def wait_for_client() -> None:
    """Wait until the client says that it has what was sent so far."""
    deadline = time.monotonic() + PATIENCE
    while not acknowledged(str(ctxkit.get("request_id"))):
        assert time.monotonic() < deadline, "a part of the response was delayed"
        time.sleep(0.005)


async def await_client() -> None:
    async with asyncio.timeout(PATIENCE):
        while not acknowledged(str(ctxkit.get("request_id"))):  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0.005)


def wsgi_app(environ: Any, start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path == "/empty":
        start_response("204 No Content", [])
        return ended([])
    if path == "/list":
        record()
        start_response("200 OK", [*headers, ("Content-Length", "4")])
        return [b"abcd"]
    if path in ("/framed", "/chunked"):
        if path == "/framed":
            headers.append(("Content-Length", "4"))
        start_response("200 OK", headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            return ended([b"abcd"])
        return ended(step() for step in (lambda: b"ab", lambda: (wait_for_client(), b"cd")[1]))
    return served_wsgi.app(environ, start_response)


def ended(parts: Any) -> Iterator[bytes]:
    """Yield ``parts``, and record the request when nothing more can happen."""
    try:
        yield from parts
    finally:
        record()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope.get("path") not in ("/empty", "/framed", "/chunked", "/list"):
        await served_asgi.app(scope, receive, send)
        return
    while (await receive()).get("more_body"):
        pass
    await respond(scope, send)
    record()


async def respond(scope: Any, send: Any) -> None:
    path = scope["path"]
    if path == "/empty":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    headers = [(b"content-type", b"text/plain")]
    if path != "/chunked":
        headers.append((b"content-length", b"4"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/list" or scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": b"abcd"})
        return
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    await await_client()
    await send({"type": "http.response.body", "body": b"cd", "more_body": True})
    await send({"type": "http.response.body"})


_wsgi = ctxkit.WSGIMiddleware(wsgi_app)
_passing_wsgi = ctxkit.WSGIMiddleware(wsgi_app, mode="never")
_asgi = ctxkit.ASGIMiddleware(asgi_app)
_passing_asgi = ctxkit.ASGIMiddleware(asgi_app, mode="never")


def wsgi(environ: Any, start_response: Any) -> Any:
    passing = environ["PATH_INFO"].startswith("/never/")
    return (_passing_wsgi if passing else _wsgi)(environ, start_response)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    passing = scope.get("path", "").startswith("/never/")
    await (_passing_asgi if passing else _asgi)(scope, receive, send)
