"""Work that outlives what started it, and every way to cross a boundary with it."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

from helpers.asgi import Exchange, body, start
from helpers.wsgi import Exchange as WSGIExchange

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that work takes which ends by itself.
SHORT = 0.02


class LambdaContext:
    aws_request_id = "8f5b-aws"

    def get_remaining_time_in_millis(self) -> float:
        return 30_000


class Work:
    """Start work of each kind.

    Args:
        seconds: How long it takes; None for until :meth:`end`.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.over: list[str] = []
        self.kept: list[Any] = []
        self._released = threading.Event()
        self._pool = ctxkit.ThreadPoolExecutor(1)

    def start(self, kind: str) -> None:
        getattr(self, kind)()

    def thread(self) -> None:
        ctxkit.Thread(target=self._block, name="worker").start()

    def timer(self) -> None:
        timer = ctxkit.Timer(self.seconds or 30, self._note)
        self.kept.append(timer)
        timer.start()

    def job(self) -> None:
        began = threading.Event()
        self._pool.submit(self._block, began)
        assert began.wait(10)

    def queued(self) -> None:
        self.job()
        self._pool.submit(self._note)

    def task(self) -> None:
        self.kept.append(asyncio.create_task(self._wait(), name="worker"))

    def carried(self) -> None:
        self.kept.append(ctxkit.create_task(self._wait(), name="worker"))

    def end(self) -> None:
        self._released.set()
        for each in self.kept:
            if isinstance(each, threading.Timer):
                each.cancel()
                each.join()
        self._pool.shutdown()

    def _block(self, began: threading.Event | None = None) -> None:
        if began is not None:
            began.set()
        self._released.wait(10 if self.seconds is None else self.seconds)
        self._note()

    async def _wait(self) -> None:
        await asyncio.sleep(10 if self.seconds is None else self.seconds)
        self._note()

    def _note(self) -> None:
        self.over.append(ctxkit.current().get("request_id", "-"))


def by_wsgi(work: Callable[[], None], **options: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        work()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"ok"])

    WSGIExchange(HTTP_X_REQUEST_ID="own")(ctxkit.WSGIMiddleware(app, **options))


async def by_asgi(work: Callable[[], None], **options: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        work()
        await send(start())
        await send(body(b"ok"))

    await Exchange(headers=[(b"x-request-id", b"own")])(ctxkit.ASGIMiddleware(app, **options))


def by_handler(work: Callable[[], None], **options: Any) -> None:
    @ctxkit.flush_before_return(**_without_mode(options))
    def handler(event: Any, context: Any) -> None:
        work()

    handler({}, LambdaContext())


async def by_async_handler(work: Callable[[], None], **options: Any) -> None:
    @ctxkit.flush_before_return(**_without_mode(options))
    async def handler(event: Any, context: Any) -> None:
        work()

    await handler({}, LambdaContext())


def by_block(work: Callable[[], None], **options: Any) -> None:
    with ctxkit.invocation("nightly", request_id="own", **options):
        work()


async def by_async_block(work: Callable[[], None], **options: Any) -> None:
    async with ctxkit.invocation("nightly", request_id="own", **options):
        work()


def by_function(work: Callable[[], None], **options: Any) -> None:
    ctxkit.invocation("nightly", request_id="own", **options)(work)()


SYNC: dict[str, Callable[..., Any]] = {
    "wsgi": by_wsgi,
    "handler": by_handler,
    "block": by_block,
    "function": by_function,
}
ASYNC: dict[str, Callable[..., Any]] = {
    "asgi": by_asgi,
    "async-handler": by_async_handler,
    "async-block": by_async_block,
}


def cross(way: str, work: Callable[[], None], **options: Any) -> float:
    """Cross by ``way``; return how long that took, in seconds."""
    started = time.monotonic()
    if way in SYNC:
        SYNC[way](work, **options)
        return time.monotonic() - started

    async def main() -> float:
        await ASYNC[way](work, **options)
        return time.monotonic() - started

    return asyncio.run(main())


def _without_mode(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "mode"}
