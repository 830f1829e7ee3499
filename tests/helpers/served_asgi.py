"""The ASGI application that tells what its requests see of each other.

Served as it is, it shows what the server leaves behind.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from helpers.served_client import PARTS
from helpers.served_values import (
    LARGE,
    LARGE_PARTS,
    PATIENCE,
    Seen,
    carried,
    leave,
    look,
    meet,
    note,
    noted,
    outlive,
    released,
    seen_by,
)

import ctxkit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

# Tasks that outlive their request; asyncio itself does not keep them.
_tasks: set[asyncio.Task[None]] = set()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
        return
    path = scope["path"].rpartition("/")[2]
    key, _, argument = scope["query_string"].decode().partition("&")
    if scope["type"] == "websocket":
        await converse(key, receive, send)
        return
    if path == "late":  # the server has read more by then than it wants to
        await until(lambda: released(key))
        await asyncio.sleep(0.003)
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/plain")]
    if path in BODIES:
        first = seen_by(key, 0)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(BODIES[path](key, first)) as body:
            async for part in body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    else:
        content = json.dumps(await answer(path, key, argument)).encode()
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": True})
    await send({"type": "http.response.body"})
    if path in BODIES:
        note(key, "after the last event")


async def converse(key: str, receive: Any, send: Any) -> None:
    """Tell at each message of a WebSocket what is seen, and leave something."""
    await receive()
    first = seen_by(key, 0)
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(first)})
    turn = 0
    while (await receive())["type"] != "websocket.disconnect":
        turn += 1
        await send({"type": "websocket.send", "text": json.dumps(seen_by(key, turn))})
    note(key, "disconnect")


async def answer(path: str, key: str, argument: str) -> object:
    if path == "notes":
        return await until(lambda: noted(key, int(argument)))
    seen = seen_by(key, 0)
    if path == "carriers":
        await asyncio.to_thread(meet, argument)
        return {**await ctxkit.to_thread(carried), **await acarried()}
    if path == "outlive":
        outlive(key)
        aoutlive(key)
    return seen


async def until(true: Callable[[], Any]) -> Any:
    async with asyncio.timeout(PATIENCE):
        while not (result := true()):  # noqa: ASYNC110 - what is asked for may be a file
            await asyncio.sleep(0.003)
        return result


async def acarried() -> dict[str, Seen]:
    """Return what the carriers of asyncio see of this request."""

    async def alook() -> Seen:
        await asyncio.sleep(0)
        return look()

    return {
        "here": look(),
        "to_thread": await ctxkit.to_thread(look),
        "run_in_executor": await ctxkit.run_in_executor(None, look),
        "create_task": await ctxkit.create_task(alook()),
    }


def aoutlive(key: str) -> None:
    """Start what of asyncio sees this request when it is over, once it is released."""
    loop = asyncio.get_running_loop()

    async def go_on(event: str) -> None:
        await until(lambda: released(key))
        note(key, event)

    async def in_thread() -> None:
        await until(lambda: released(key))
        await ctxkit.to_thread(note, key, "to_thread")

    def later() -> None:
        if released(key):
            note(key, "call_later")
        else:
            loop.call_later(0.003, later)

    loop.call_later(0.003, later)
    plain = asyncio.create_task(go_on("asyncio.create_task"))
    plain.add_done_callback(lambda _: note(key, "done callback"))
    for task in (plain, ctxkit.create_task(go_on("create_task")), ctxkit.create_task(in_thread())):
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


class Parts:
    """A body in parts, each of which sees what the one before left."""

    def __init__(self, key: str, first: Seen) -> None:
        self.key = key
        self.first = first
        self.turn = 0

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if self.turn > PARTS:
            raise StopAsyncIteration
        seen = seen_by(self.key, self.turn) if self.turn else self.first
        self.turn += 1
        return json.dumps(seen).encode() + b"\n"

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        note(self.key, "close")


async def generated(key: str, first: Seen) -> AsyncIterator[bytes]:
    try:
        yield json.dumps(first).encode() + b"\n"
        for turn in range(1, PARTS + 1):
            await asyncio.sleep(0)
            yield json.dumps(seen_by(key, turn)).encode() + b"\n"
    finally:
        note(key, "close")


async def abandoned(key: str, first: Seen) -> AsyncIterator[bytes]:
    """Go on when the client has gone, until the server notices."""
    try:
        yield json.dumps(first).encode() + b"\n"
        leave(f"{key}.1")
        await until(lambda: released(key))
        for _ in range(LARGE_PARTS):
            yield LARGE
    finally:
        note(key, "close")


BODIES: dict[str, Any] = {"iterable": Parts, "generator": generated, "abandoned": abandoned}
