"""What the ASGI boundary holds, until when, and what it never does."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import Exchange, body, start, until

import ctxkit
from ctxkit.boundary import _asgi_held

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402

if TYPE_CHECKING:
    from helpers.timeline import RecordingSink

PATHSEND = {"type": "http.response.pathsend", "path": "/etc/hostname"}


def playing(timeline: list[object], *events: dict[str, Any], after: Any = None) -> Any:
    """Return an application that sends ``events``, and tells when it is over."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for event in events:
                await send(event)
            if after is not None:
                await after(receive, send)
        finally:
            timeline.append("over")

    return app


def crossed(
    timeline: list[object], app: Any, mode: str = "always", timeout: float = 10, **scope: Any
) -> Exchange:
    async def main() -> Exchange:
        async with asyncio.timeout(timeout):
            return await Exchange(timeline, **scope)(ctxkit.ASGIMiddleware(app, mode=mode))

    return asyncio.run(main())


def length(count: int) -> tuple[bytes, bytes]:
    return b"content-length", str(count).encode()


def test_only_the_part_that_fills_the_length_is_held(
    sink: RecordingSink, timeline: list[object]
) -> None:
    parts = (body(b"ab", more=True), body(b"cd", more=True), body())
    crossed(timeline, playing(timeline, start(length(4)), *parts))
    assert timeline == ["start", b"ab", "over", "flush", b"cd", "end"]


def test_without_a_length_only_the_last_part_is_held(
    sink: RecordingSink, timeline: list[object]
) -> None:
    parts = (body(b"ab", more=True), body(b"cd", more=True), body(b"ef"))
    crossed(timeline, playing(timeline, start(), *parts))
    assert timeline == ["start", b"ab", b"cd", "over", "flush", b"ef", "end"]


@pytest.mark.parametrize(
    ("method", "event"),
    [
        ("HEAD", start()),
        ("HEAD", start(length(4))),
        ("GET", start(status=204)),
        ("GET", start(length(4), status=304)),
        ("GET", start(length(0))),
    ],
)
def test_response_without_content_is_held_from_its_start(
    sink: RecordingSink, timeline: list[object], method: str, event: dict[str, Any]
) -> None:
    crossed(timeline, playing(timeline, event, body()), method=method)
    assert timeline == ["over", "flush", "start", "end"]


def test_trailers_complete_the_response_only_if_nothing_did_before(
    sink: RecordingSink, timeline: list[object]
) -> None:
    trailers = [
        {"type": "http.response.trailers", "headers": [], "more_trailers": more}
        for more in (True, False)
    ]
    crossed(timeline, playing(timeline, start(trailers=True), body(b"ab"), *trailers))
    assert timeline == ["start", b"ab", "over", "flush", "end"]
    timeline.clear()
    framed = start(length(2), trailers=True)
    crossed(timeline, playing(timeline, framed, body(b"ab"), *trailers))
    assert timeline == ["start", "over", "flush", b"ab", "end"]


def test_sent_path_completes_the_response(sink: RecordingSink, timeline: list[object]) -> None:
    class Server(Exchange):
        async def send(self, event: Any) -> None:
            self.scope["extensions"] = {event["type"]: {}}
            await super().send(event)

    async def main() -> None:
        app = playing(timeline, start(), PATHSEND)
        await Server(timeline)(ctxkit.ASGIMiddleware(app, mode="always"))

    asyncio.run(main())
    assert timeline == ["start", "over", "flush", PATHSEND["type"], "end"]


@pytest.mark.parametrize(("mode", "offered"), [("never", True), ("always", False)])
def test_files_by_name_are_not_offered_where_the_response_is_held(
    mode: str, *, offered: bool
) -> None:
    """An application may delete its file when it believes that it was sent."""
    seen: list[set[str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(set(scope["extensions"]))
        await send(start())
        await send(body())

    names = ("http.response.pathsend", "http.response.zerocopysend", "http.response.trailers")
    extensions = {name: {} for name in names}
    exchange = crossed([], app, mode, extensions=extensions)
    assert seen == [set(names) if offered else {"http.response.trailers"}]
    assert set(extensions) == set(names)
    assert exchange.status == 200


def test_early_hints_pass(sink: RecordingSink, timeline: list[object]) -> None:
    hint = {"type": "http.response.early_hint", "links": []}
    exchange = crossed(timeline, playing(timeline, hint, start(), body(b"ab")))
    assert timeline == ["start", "over", "flush", b"ab", "end"]
    assert exchange.events[0] == hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    chunks=st.lists(st.binary(max_size=6), max_size=8),
    framed=st.booleans(),
    separate_end=st.booleans(),
    mode=st.sampled_from(["never", "always", "idle"]),
)
def test_whatever_the_parts_the_client_gets_the_same_and_only_the_end_waits(  # noqa: PLR0913 - hypothesis
    sink: RecordingSink,
    timeline: list[object],
    *,
    chunks: list[bytes],
    framed: bool,
    separate_end: bool,
    mode: str,
) -> None:
    timeline.clear()
    content = b"".join(chunks)
    ends = [*chunks, b""] if separate_end or not chunks else chunks
    events = [body(part, more=i + 1 < len(ends)) for i, part in enumerate(ends)]
    headers = [length(len(content))] if framed else []
    exchange = crossed(timeline, playing(timeline, start(*headers), *events), mode)
    assert exchange.body == content
    assert timeline.count("flush") == (mode != "never")
    if mode != "never":
        assert timeline[-1] == "end"
        assert timeline.index("over") < timeline.index("flush")
        after = [part for part in timeline[timeline.index("flush") :] if isinstance(part, bytes)]
        filled = (
            [part for part in ends if part][-1:] if framed else [part for part in ends[-1:] if part]
        )
        assert after == filled


def test_receive_after_the_end_says_disconnect_at_once(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def after(receive: Any, send: Any) -> None:
        timeline.append((await receive())["type"])

    crossed(timeline, playing(timeline, start(), body(b"ab"), after=after), body=())
    assert timeline == ["start", "http.disconnect", "over", "flush", b"ab", "end"]


def test_receive_that_waits_already_is_told_too(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        await send(start(length(2)))
        await send(body(b"ab", more=True))
        await asyncio.sleep(0.01)
        # The client has it all, but the application has not ended: nobody has gone.
        assert not waiting.done()
        await send(body())
        timeline.append((await waiting)["type"])

    exchange = crossed(timeline, app, body=())
    assert timeline == ["start", "http.disconnect", "flush", b"ab", "end"]
    assert exchange.receiving == 0


def test_receive_gives_what_is_there_without_suspension() -> None:
    """As Starlette's ``is_disconnected()`` needs it: cancelled at its first suspension."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        coroutine = receive()
        with pytest.raises(StopIteration) as done:
            coroutine.send(None)
        assert done.value.value["body"] == b"there"
        await send(start())
        await send(body())

    assert crossed([], app, body=(b"there",)).status == 200


def test_disconnect_reaches_an_application_that_waits(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"ab", more=True))
        timeline.append((await receive())["type"])

    async def main() -> None:
        exchange = Exchange(timeline, body=())
        task = asyncio.create_task(exchange(ctxkit.ASGIMiddleware(app, mode="always")))
        await until(lambda: exchange.receiving > 0)
        exchange.disconnected.set()
        await task

    asyncio.run(asyncio.wait_for(main(), 10))
    assert timeline == ["start", b"ab", "http.disconnect", "flush"]


def test_receive_that_is_cancelled_cancels_the_servers(sink: RecordingSink) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for make in (receive, lambda: asyncio.create_task(receive())):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await make()
            assert exchange.receiving == 0
        await send(start())
        await send(body())

    exchange = Exchange(body=())
    asyncio.run(exchange(ctxkit.ASGIMiddleware(app, mode="always")))
    assert exchange.status == 200


def test_receive_that_is_cancelled_cancels_what_the_servers_waits_for() -> None:
    waited: list[asyncio.Task[Any]] = []

    async def receive() -> Any:
        waited.append(asyncio.create_task(asyncio.Event().wait()))
        await waited[0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await receive()

    async def main() -> None:
        exchange = Exchange()
        await ctxkit.ASGIMiddleware(app, mode="always")(exchange.scope, receive, exchange.send)
        await asyncio.wait(waited, timeout=10)
        assert waited[0].cancelled()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["future", "task", "sleep", "error"])
def test_receive_of_any_make_is_understood(kind: str) -> None:
    message = {"type": "http.request", "body": kind.encode(), "more_body": False}

    async def slowly() -> Any:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return message

    def receive() -> Any:
        loop = asyncio.get_running_loop()
        if kind == "future":
            future = loop.create_future()
            loop.call_soon(future.set_result, message)
            return future
        if kind == "task":
            return loop.create_task(slowly())
        if kind == "error":
            return broken()
        return slowly()

    async def broken() -> Any:
        await asyncio.sleep(0.001)
        raise LookupError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "error":
            with pytest.raises(LookupError):
                await receive()
        else:
            assert (await receive()) is message
        await send(start())
        await send(body())

    async def main() -> None:
        exchange = Exchange()
        await ctxkit.ASGIMiddleware(app, mode="always")(exchange.scope, receive, exchange.send)
        assert exchange.status == 200

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_failure_is_flushed_what_was_sent_goes_out_and_the_same_error_comes_back(
    sink: RecordingSink, timeline: list[object], sent: int
) -> None:
    error = SystemExit(3)

    async def fail(receive: Any, send: Any) -> None:
        raise error

    app = playing(timeline, *(start(), body(b"ab"))[:sent], after=fail)

    async def main() -> None:
        with pytest.raises(SystemExit) as caught:
            await Exchange(timeline)(ctxkit.ASGIMiddleware(app, mode="always"))
        assert caught.value is error

    asyncio.run(main())
    expected = [["over", "flush"], ["start", "over", "flush"]]
    expected.append(["start", "over", "flush", b"ab", "end"])
    assert timeline == expected[sent]


def test_cancelled_application_is_flushed_once_and_briefly(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def wait(receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        app = ctxkit.ASGIMiddleware(playing(timeline, start(), after=wait), mode="always")
        task = asyncio.create_task(Exchange(timeline)(app))
        await until(lambda: "start" in timeline)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert timeline == ["start", "over", "flush"]
    assert sink.timeouts[0] <= 0.5


@pytest.mark.parametrize("times", [1, 3])
def test_cancellation_during_the_flush_waits_for_it_and_sends(
    sink: RecordingSink, timeline: list[object], times: int
) -> None:
    sink.opened.clear()

    async def main() -> None:
        app = ctxkit.ASGIMiddleware(playing(timeline, start(), body(b"ab")), mode="always")
        task = asyncio.create_task(Exchange(timeline)(app))
        await asyncio.to_thread(sink.flushing.wait, 10)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        assert not task.done()
        sink.opened.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert timeline == ["start", "over", "flush", b"ab", "end"]


def test_application_that_does_not_return_is_waited_for_only_so_long(
    sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_held, "SETTLE_LIMIT", 0.01)

    async def linger(receive: Any, send: Any) -> None:
        await until(lambda: "end" in timeline)

    app = playing(timeline, start(length(2)), body(b"ab", more=True), body(), after=linger)
    crossed(timeline, app)
    assert timeline == ["start", "flush", b"ab", "end", "over", "flush"]


def test_response_sent_by_a_task_of_the_application_is_held_only_so_long(
    sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_held, "SETTLE_LIMIT", 0.01)

    async def app(_: object, __: object, send: Any) -> None:
        async def respond() -> None:
            await asyncio.sleep(0)
            await send(start())
            await send(body(b"ab"))
            await until(lambda: "end" in timeline)

        await asyncio.create_task(respond())

    crossed(timeline, app)
    assert timeline == ["start", "flush", b"ab", "end", "flush"]


def test_parts_sent_after_the_limit_follow_in_order(
    sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_held, "SETTLE_LIMIT", 0.01)

    async def linger(receive: Any, send: Any) -> None:
        await until(lambda: b"ab" in timeline)
        await send(body())

    app = playing(timeline, start(length(2)), body(b"ab", more=True), after=linger)
    crossed(timeline, app)
    assert timeline == ["start", "flush", b"ab", "over", "end", "flush"]


def test_application_that_returned_in_time_is_not_overdue_later(
    sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_held, "SETTLE_LIMIT", 0.01)

    async def main() -> None:
        app = ctxkit.ASGIMiddleware(playing(timeline, start(), body(b"ab")), mode="always")
        await Exchange(timeline)(app)
        await asyncio.sleep(0.03)

    asyncio.run(main())
    assert timeline.count("flush") == 1


def test_loop_keeps_nothing_of_a_request_that_was_held(sink: RecordingSink) -> None:
    frames: list[weakref.ref[ctxkit.Frame]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        frames.append(weakref.ref(ctxkit.current()))
        await send(start())
        await send(body(b"ab"))

    async def main() -> None:
        # The loop drops a cancelled timer at once only if it is the next one.
        earlier = asyncio.get_running_loop().call_later(5, lambda: None)
        await Exchange()(ctxkit.ASGIMiddleware(app, mode="always"))
        gc.collect()
        assert frames[0]() is None
        earlier.cancel()

    asyncio.run(main())


def test_limit_is_what_the_host_leaves(sink: RecordingSink, timeline: list[object]) -> None:
    class Context:
        def get_remaining_time_in_millis(self) -> int:
            return 110

    async def linger(receive: Any, send: Any) -> None:
        await until(lambda: "end" in timeline)

    app = playing(timeline, start(), body(b"ab"), after=linger)
    crossed(timeline, app, **{"aws.context": Context()})
    assert timeline.index("end") < timeline.index("over")


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("bad event")])
def test_servers_failure_at_the_end_does_not_hide_the_applications(
    sink: RecordingSink, timeline: list[object], error: Exception
) -> None:
    class Server(Exchange):
        async def send(self, event: Any) -> None:
            if event["type"] == "http.response.body":
                raise error
            await super().send(event)

    async def fail(receive: Any, send: Any) -> None:
        raise LookupError("mine")

    async def main(app: Any) -> None:
        await Server(timeline)(ctxkit.ASGIMiddleware(app, mode="always"))

    with pytest.raises(LookupError, match="mine"):
        asyncio.run(main(playing(timeline, start(), body(b"ab"), after=fail)))
    if isinstance(error, OSError):
        asyncio.run(main(playing(timeline, start(), body(b"ab"))))
    else:
        with pytest.raises(RuntimeError) as caught:
            asyncio.run(main(playing(timeline, start(), body(b"ab"))))
        assert caught.value is error


def test_scope_of_anyio_that_cancels_again_and_again_gets_its_flush(
    sink: RecordingSink, timeline: list[object]
) -> None:
    anyio = pytest.importorskip("anyio")

    async def wait(receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    async def main() -> None:
        with anyio.move_on_after(0.01) as scope:
            app = playing(timeline, start(), after=wait)
            await Exchange(timeline)(ctxkit.ASGIMiddleware(app, mode="always"))
        assert scope.cancelled_caught

    asyncio.run(main())
    assert timeline == ["start", "over", "flush"]


def test_sink_that_hangs_holds_the_response_no_longer_than_allowed(
    sink: RecordingSink, timeline: list[object]
) -> None:
    sink.opened.clear()
    app = playing(timeline, start(), body(b"ab"))
    middleware = ctxkit.ASGIMiddleware(app, mode="always", timeout=0.05)
    asyncio.run(Exchange(timeline)(middleware))
    assert timeline == ["start", "over", b"ab", "end"]


def test_idle_flushes_only_when_the_last_response_ends(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def main() -> None:
        leave = asyncio.Event()

        async def wait(receive: Any, send: Any) -> None:
            await leave.wait()

        slow = ctxkit.ASGIMiddleware(playing([], start(), body(b"slow"), after=wait), mode="idle")
        quick = ctxkit.ASGIMiddleware(playing([], start(), body(b"quick")), mode="idle")
        first = asyncio.create_task(Exchange(timeline)(slow))
        await until(lambda: bool(timeline))
        await Exchange(timeline)(quick)
        assert timeline == ["start", "start", b"quick", "end"]
        leave.set()
        await first

    asyncio.run(asyncio.wait_for(main(), 10))
    assert timeline[4:] == ["flush", b"slow", "end"]


def test_idle_counts_an_application_that_does_not_return_no_longer_than_its_response(
    sink: RecordingSink, timeline: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_asgi_held, "SETTLE_LIMIT", 0.01)

    async def main() -> None:
        leave = asyncio.Event()

        async def linger(receive: Any, send: Any) -> None:
            await leave.wait()

        endless = ctxkit.ASGIMiddleware(playing([], start(), body(), after=linger), mode="idle")
        quick = ctxkit.ASGIMiddleware(playing([], start(), body(b"quick")), mode="idle")
        first = asyncio.create_task(Exchange(timeline)(endless))
        await until(lambda: "end" in timeline)
        timeline.clear()
        await Exchange(timeline)(quick)
        assert timeline == ["start", "flush", b"quick", "end"]
        leave.set()
        await first
        await Exchange(timeline)(quick)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert timeline[4:] == ["flush", "start", "flush", b"quick", "end"]


def test_websocket_data_passes_and_its_close_is_held(
    sink: RecordingSink, timeline: list[object]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hi"})
        await send({"type": "websocket.close"})
        timeline.append((await receive())["type"])

    async def send(event: Any) -> None:
        timeline.append(event["type"])

    scope = {"type": "websocket", "path": "/", "headers": []}
    asyncio.run(ctxkit.ASGIMiddleware(app, mode="always")(scope, None, send))  # type: ignore[arg-type]
    assert timeline == [
        "websocket.accept",
        "websocket.send",
        "websocket.disconnect",
        "flush",
        "websocket.close",
    ]


def starlette_app(timeline: list[object]) -> Any:
    starlette = pytest.importorskip("starlette.applications")
    from starlette.background import BackgroundTask  # noqa: PLC0415 - after the skip
    from starlette.middleware import Middleware  # noqa: PLC0415
    from starlette.middleware.base import BaseHTTPMiddleware  # noqa: PLC0415
    from starlette.responses import PlainTextResponse, StreamingResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def plain(request: Any) -> Any:
        content = await request.body() or ctxkit.get("request_id")
        assert not await request.is_disconnected()
        return PlainTextResponse(
            content,
            background=BackgroundTask(timeline.append, "background"),
        )

    async def stream(request: Any) -> Any:
        async def parts() -> Any:
            yield b"ab"
            yield b"cd"
            timeline.append("tail")

        return StreamingResponse(parts())

    def sync(request: Any) -> Any:
        return PlainTextResponse(str(ctxkit.get("path")))

    class Base(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    return starlette.Starlette(
        routes=[
            Route("/plain", plain, methods=["GET", "POST"]),
            Route("/stream", stream),
            Route("/sync", sync),
        ],
        middleware=[Middleware(ctxkit.ASGIMiddleware, mode="always"), Middleware(Base)],
    )


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain", ["start", "background", "flush", b"abc", "end"]),
        ("/stream", ["start", b"ab", b"cd", "tail", "flush", "end"]),
        ("/sync", ["start", "flush", b"/sync", "end"]),
    ],
)
def test_starlette_works_as_usual(
    sink: RecordingSink,
    timeline: list[object],
    path: str,
    expected: list[object],
    spec_version: str,
) -> None:
    app = starlette_app(timeline)

    async def main() -> None:
        exchange = Exchange(
            timeline,
            path=path,
            headers=[(b"x-request-id", b"abc")],
            asgi={"version": "3.0", "spec_version": spec_version},
        )
        await exchange(app)

    asyncio.run(asyncio.wait_for(main(), 10))
    assert timeline == expected


def test_trio_is_served_without_holding(sink: RecordingSink, timeline: list[object]) -> None:
    trio = pytest.importorskip("trio")

    class Server(Exchange):
        async def send(self, event: Any) -> None:
            timeline.append(event["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.lowlevel.checkpoint()
        assert ctxkit.get("request_id")
        await send(start())
        await send(body(b"ab"))

    exchange = Server(timeline)
    trio.run(
        ctxkit.ASGIMiddleware(app, mode="always"), exchange.scope, exchange.receive, exchange.send
    )
    assert timeline == ["http.response.start", "http.response.body", "flush"]
