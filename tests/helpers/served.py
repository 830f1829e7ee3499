"""The applications that the server tests run: one in WSGI and one in ASGI, the same paths.

What they record is an id per request, appended at the very end of the application. The
sink takes its time, and writes the ids it has delivered to the file in ``SERVED_LOG``: so
whoever looks into that file sees what had landed at that moment.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctxkit
from ctxkit.flushing import add_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 10.0  # seconds
LATENCY = 0.1

log = Path(os.environ["SERVED_LOG"])
recorded: list[str] = []
leak: contextvars.ContextVar[str] = contextvars.ContextVar("leak", default="nothing")


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


_met: dict[str, threading.Barrier] = {}
_lock = threading.Lock()


def meet(room: str) -> None:
    """Wait until both requests of ``room`` are here."""
    with _lock:
        barrier = _met.setdefault(room, threading.Barrier(2))
    barrier.wait(PATIENCE)


def look() -> list[str]:
    return [str(ctxkit.get("request_id")), str(ctxkit.get("user")), leak.get()]


def carried() -> dict[str, list[str]]:
    """Return what each carrier of the standard library's kind sees of this request."""
    seen: dict[str, list[str]] = {"here": look()}

    def note(name: str) -> Callable[[], None]:
        return lambda: seen.__setitem__(name, look())

    for thread in (ctxkit.Thread(target=note("Thread")), ctxkit.Timer(0.001, note("Timer"))):
        thread.start()
        thread.join(PATIENCE)
    seen["ThreadPoolExecutor"] = POOL.submit(look).result(PATIENCE)
    return seen


async def acarried() -> dict[str, list[str]]:
    """Return what the carriers of asyncio see of this request."""

    async def alook() -> list[str]:
        await asyncio.sleep(0)
        return look()

    return {
        "here": look(),
        "to_thread": await ctxkit.to_thread(look),
        "run_in_executor": await ctxkit.run_in_executor(None, look),
        "create_task": await ctxkit.create_task(alook()),
    }


# One thread for all: it was started by whichever request came first.
POOL = ctxkit.ThreadPoolExecutor(1)


def tell(query: str) -> bytes:
    """Return what is seen at the start of a request, and leave something behind."""
    before = look()
    leak.set(f"left by {query}")
    return json.dumps(before).encode()


def wsgi_app(environ: Any, start_response: Any) -> Any:
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
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
    if path == "/carriers":
        leak.set(query)
        with ctxkit.bind(user=query.partition(":")[2]):
            meet(query.partition(":")[0])
            content = json.dumps(carried()).encode()
    else:
        content = tell(query)
    start_response("200 OK", [*headers, ("Content-Length", str(len(content)))])
    return [content]


def ended(parts: Any) -> Iterator[bytes]:
    """Yield ``parts``, and record the request when nothing more can happen."""
    try:
        yield from parts
    finally:
        record()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await respond(scope, send)
    record()


async def respond(scope: Any, send: Any) -> None:
    path, query = scope["path"], scope["query_string"].decode()
    headers = [(b"content-type", b"text/plain")]
    if path == "/empty":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    if path in ("/framed", "/chunked", "/list"):
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
        return
    if path == "/carriers":
        leak.set(query)
        with ctxkit.bind(user=query.partition(":")[2]):
            await asyncio.to_thread(meet, query.partition(":")[0])
            content = json.dumps({**await ctxkit.to_thread(carried), **await acarried()}).encode()
    else:
        content = tell(query)
    headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


wsgi = ctxkit.WSGIMiddleware(wsgi_app)
asgi = ctxkit.ASGIMiddleware(asgi_app)
