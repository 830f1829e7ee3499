"""The debug mode of the boundaries: what it reports, and that a clean request says nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from contextlib import suppress
from contextvars import ContextVar, copy_context
from io import BytesIO
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

import pytest
from helpers.asgi import Exchange, body, start
from helpers.wsgi import Exchange as WSGIExchange

import ctxkit
from ctxkit.boundary import _leak_report
from ctxkit.propagation._tracing import TRACING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES = pytest.mark.parametrize("mode", ["never", "always"])
KEPT: list[Any] = []
STICKY: ContextVar[str] = ContextVar("STICKY")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_leak_report, "GRACE", 0.0)
    monkeypatch.setattr(_leak_report, "INTERVAL", 0.0)
    yield
    _leak_report.stop()
    KEPT.clear()
    gc.collect()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    def messages() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == "ctxkit"]

    caplog.set_level(logging.WARNING)
    return messages


async def poll() -> None:
    await asyncio.sleep(3600)


async def answering(send: Any) -> None:
    await send(start())
    await send(body(b"ok"))


async def clean(scope: Any, receive: Any, send: Any) -> None:
    with ctxkit.bind(tenant="acme"):
        async with asyncio.timeout(3600):
            await asyncio.gather(asyncio.to_thread(int), asyncio.sleep(0))
            await asyncio.create_task(asyncio.sleep(0))
    await answering(send)


async def leaking(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/leak":
        with ctxkit.bind(tenant="acme"):
            KEPT.append(asyncio.create_task(poll(), name="poll"))
    await answering(send)


def served(app: Any, *paths: str) -> None:
    async def main() -> None:
        for path in paths:
            await Exchange(path=path)(app)

    asyncio.run(main())


@MODES
def test_clean_requests_say_nothing(mode: str, told: Any) -> None:
    served(ctxkit.ASGIMiddleware(clean, mode=mode, report_leaks=True), "/", "/", "/", "/")
    assert told() == []


@MODES
def test_task_that_outlives_its_request_is_reported_once_at_the_next(mode: str, told: Any) -> None:
    app = ctxkit.ASGIMiddleware(leaking, mode=mode, report_leaks=True, leftovers="ignore")
    served(app, "/leak", "/", "/", "/")
    [message] = told()
    assert message.startswith("ctxkit.leak: request ")
    assert "(GET /leak) ended 0.0 s ago: " in message
    assert "request_id by the boundary" in message.replace("method, request_id", "request_id")
    assert "tenant by leaking (" in message
    assert "held by Task 'poll' of poll, made at " in message
    assert "ctxkit.detached" in message


def test_path_cannot_forge_a_line_of_the_log(told: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        KEPT.append(ctxkit.capture())
        await answering(send)

    served(ctxkit.ASGIMiddleware(app, mode="never", report_leaks=True), "/a\nERROR b\x1b[1m", "/")
    [message] = told()
    assert "\\nERROR b\\x1b[1m) ended" in message
    assert message.isprintable()


def test_request_without_the_switch_is_not_watched(told: Any) -> None:
    served(ctxkit.ASGIMiddleware(leaking, mode="never"), "/leak", "/", "/")
    assert told() == []
    assert not TRACING.on


def test_variable_switches_it_on(monkeypatch: pytest.MonkeyPatch, told: Any) -> None:
    monkeypatch.setenv("CTXKIT_REPORT_LEAKS", "1")
    served(ctxkit.ASGIMiddleware(leaking, mode="never"), "/leak", "/")
    assert len(told()) == 1
    _leak_report.stop()
    assert not TRACING.on


def test_first_requests_of_several_threads_start_one_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each thread gets as far as it can before another does.
    made: list[object] = []
    both = threading.Barrier(2)

    class Report(_leak_report._Report):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)
            with suppress(threading.BrokenBarrierError):
                both.wait(0.2)

    monkeypatch.setattr(_leak_report, "_Report", Report)
    app = ctxkit.ASGIMiddleware(clean, mode="never", report_leaks=True)
    threads = [threading.Thread(target=served, args=(app, "/")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    _leak_report.stop()
    assert not TRACING.on


def test_request_within_its_grace_is_not_searched(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setattr(_leak_report, "GRACE", 3600.0)
    served(ctxkit.ASGIMiddleware(leaking, report_leaks=True), "/leak", "/", "/")
    assert told() == []


def test_searches_are_rare_and_what_they_miss_is_looked_at_later(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setattr(_leak_report, "INTERVAL", 3600.0)
    app = ctxkit.ASGIMiddleware(leaking, report_leaks=True)

    async def main() -> None:
        for path in ("/leak", "/leak", "/", "/"):
            await Exchange(path=path)(app)
        assert len(told()) == 1  # of the first, at the second
        monkeypatch.setattr(_leak_report, "INTERVAL", 0.0)
        await Exchange()(app)

    asyncio.run(main())
    assert len(told()) == 2


def test_many_finished_requests_are_not_remembered_for_ever(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    monkeypatch.setattr(_leak_report, "GRACE", 3600.0)
    served(ctxkit.ASGIMiddleware(leaking, report_leaks=True), *["/"] * 300)
    report = _leak_report._report
    assert report is not None
    assert len(report._finished) == _leak_report.REMEMBERED
    assert len(report._bases) == 0


def test_search_that_fails_does_not_fail_the_request(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    def search(*_: object, **__: object) -> list[ctxkit.Leak]:
        raise ZeroDivisionError

    monkeypatch.setattr(_leak_report, "search", search)
    served(ctxkit.ASGIMiddleware(leaking, report_leaks=True), "/leak", "/")
    [message] = told()
    assert "failed" in message


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    with ctxkit.bind(tenant="acme"):
        if environ["PATH_INFO"] == "/leak":
            KEPT.append(ctxkit.capture())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


@MODES
def test_wsgi_request_is_reported_and_a_clean_one_is_not(mode: str, told: Any) -> None:
    app = ctxkit.WSGIMiddleware(wsgi, mode=mode, report_leaks=True)
    for path in ("/", "/", "/leak", "/", "/"):
        WSGIExchange(PATH_INFO=path)(app)
    [message] = told()
    assert "(GET /leak)" in message
    assert f"held by Snapshot, in the global {__name__}.KEPT" in message


@MODES
def test_file_that_the_server_is_sending_is_no_leak(mode: str, told: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](BytesIO(b"ab"))

    crossed = ctxkit.WSGIMiddleware(app, mode=mode, report_leaks=True)
    environ = WSGIExchange(environ={"wsgi.file_wrapper": FileWrapper}).environ
    KEPT.append(crossed({**environ}, lambda *_: bytearray().extend))
    crossed({**environ}, lambda *_: bytearray().extend)
    assert told() == []


def test_thread_that_outlives_its_request_is_reported(told: Any) -> None:
    stop, ready = threading.Event(), threading.Event()

    def serve() -> None:
        ready.set()
        stop.wait(30)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/leak":
            context = copy_context()
            threading.Thread(target=context.run, args=(serve,), name="server").start()
            del context
        return wsgi({**environ, "PATH_INFO": "/"}, start_response)

    try:
        for path in ("/leak", "/"):
            WSGIExchange(PATH_INFO=path)(ctxkit.WSGIMiddleware(app, report_leaks=True))
            assert ready.wait(30)
        [message] = told()
    finally:
        stop.set()
    assert "held by Thread 'server', which runs " in message


def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    STICKY.set("mine")  # in the context of the request: nobody's business
    yield b"one"
    yield b"two"


def test_variable_that_sticks_to_the_servers_thread_is_reported_once(told: Any) -> None:
    app = ctxkit.WSGIMiddleware(streaming, mode="never", report_leaks=True)

    def server(value: str) -> None:
        exchange = WSGIExchange(strict=False)
        chunks = iter(app(exchange.environ, exchange._start_response))
        next(chunks)
        if value:
            STICKY.set(value)
        list(chunks)
        chunks.close()  # type: ignore[attr-defined]  # PEP 3333 has it

    context = copy_context()
    context.run(server, "")
    assert told() == []
    context.run(server, "theirs")
    context.run(server, "others")
    [message] = told()
    assert "left the ContextVar 'STICKY' set in the context of the server's thread" in message


def test_context_that_a_server_passes_on_from_request_to_request_is_no_leak(told: Any) -> None:
    """What asyncio does when a request resumes reading: python/cpython#140947."""
    app = ctxkit.ASGIMiddleware(leaking, mode="never", report_leaks=True)
    inside: list[Any] = []

    async def resuming(scope: Any, receive: Any, send: Any) -> None:
        inside.append(copy_context())
        await leaking(scope, receive, send)

    async def main() -> None:
        await Exchange()(ctxkit.ASGIMiddleware(resuming, mode="never", report_leaks=True))
        next_one = inside.pop().run(asyncio.create_task, Exchange()(app))
        await next_one

    asyncio.run(main())
    assert told() == []


def test_websocket_is_reported_by_its_path(told: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        KEPT.append(ctxkit.capture())

    async def main() -> None:
        app_ = ctxkit.ASGIMiddleware(app, report_leaks=True)
        for _ in range(2):
            scope = {"type": "websocket", "path": "/live", "headers": []}
            await app_(scope, None, None)  # type: ignore[arg-type]  # neither is called

    asyncio.run(main())
    [message] = told()
    assert "(/live) ended" in message
