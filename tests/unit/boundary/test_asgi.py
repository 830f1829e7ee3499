"""What the ASGI boundary knows and forgets; what it holds is in test_asgi_holding."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import Exchange, body, start

import ctxkit
from ctxkit.boundary import CROSSING, BoundaryOptions, cross_asgi
from ctxkit.boundary.invocations import CLOSED
from ctxkit.boundary.request_id import chosen_id
from ctxkit.context._current import CURRENT
from ctxkit.lifecycle import on_shutdown

if TYPE_CHECKING:
    from helpers.timeline import RecordingSink

MODES = pytest.mark.parametrize("mode", ["never", "always"])

colour: ContextVar[str] = ContextVar("colour", default="none")


def telling(seen: dict[str, object], *headers: tuple[bytes, bytes]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.clear()
        seen.update(ctxkit.current())
        await send(start(*headers))
        await send(body(b"ok"))

    return app


def exchanged(app: Any, exchange: Exchange | None = None, **scope: Any) -> Exchange:
    async def main() -> Exchange:
        return await (exchange or Exchange(**scope))(app)

    return asyncio.run(main())


@MODES
def test_frame_tells_id_method_path_and_protocol(mode: str) -> None:
    seen: dict[str, object] = {}
    app = ctxkit.ASGIMiddleware(telling(seen), mode=mode)
    exchange = exchanged(app, method="PUT", path="/café")
    request_id = str(seen.pop("request_id"))
    assert seen == {"method": "PUT", "path": "/café", "protocol": "http"}
    assert exchange.header(b"x-request-id") == [request_id.encode()]
    assert exchange.timeline == ["start", b"ok", "end"]


def test_inbound_id_is_taken_over_and_sent_back() -> None:
    seen: dict[str, object] = {}
    app = ctxkit.ASGIMiddleware(telling(seen), mode="never")
    exchange = exchanged(app, headers=[(b"x", b"y"), (b"x-request-id", b"abc")])
    assert seen["request_id"] == "abc"
    assert exchange.header(b"x-request-id") == [b"abc"]


@pytest.mark.parametrize(
    ("inbound", "kept", "trust"), [(b"a\xe9", r"a\xe9", True), (b"abc", "abc", False)]
)
def test_refused_id_is_kept_apart_and_not_sent_back(
    inbound: bytes, kept: str, *, trust: bool
) -> None:
    seen: dict[str, object] = {}
    app = ctxkit.ASGIMiddleware(telling(seen), mode="never", trust_request_id=trust)
    exchange = exchanged(app, headers=[(b"x-request-id", inbound)])
    assert seen["client_request_id"] == kept
    assert exchange.header(b"x-request-id") == [str(seen["request_id"]).encode()] != [inbound]


def test_header_that_the_application_set_stays_alone() -> None:
    app = ctxkit.ASGIMiddleware(telling({}, (b"x-request-id", b"mine")), mode="never")
    assert exchanged(app).header(b"x-request-id") == [b"mine"]


@MODES
@pytest.mark.parametrize("name", ["X-Request-ID", None])
@pytest.mark.parametrize("own", [b"x-request-id", b"x-own"])
def test_headers_that_can_be_read_once_all_arrive(mode: str, name: str | None, own: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        # Sanic sends a generator.
        await send({**start(), "headers": iter([(own, b"abc"), (b"content-length", b"2")])})
        await send(body(b"ok"))

    exchange = exchanged(ctxkit.ASGIMiddleware(app, mode=mode, request_id_header=name))
    assert exchange.header(own) == [b"abc"]
    assert exchange.header(b"content-length") == [b"2"]


def test_other_header_and_none() -> None:
    seen: dict[str, object] = {}
    headers = [(b"x-trace", b"abc"), (b"x-request-id", b"other")]
    app = ctxkit.ASGIMiddleware(telling(seen), mode="never", request_id_header="X-Trace")
    assert exchanged(app, headers=headers).header(b"x-trace") == [b"abc"]
    assert seen["request_id"] == "abc"
    app = ctxkit.ASGIMiddleware(telling(seen), mode="never", request_id_header=None)
    assert exchanged(app, headers=headers).headers == []
    assert seen["request_id"] != "other"


@MODES
def test_applications_own_message_is_not_changed(mode: str) -> None:
    constant = {"type": "http.response.start", "status": 200}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(constant)
        await send(body())

    for _ in range(2):
        exchange = exchanged(ctxkit.ASGIMiddleware(app, mode=mode))
        assert len(exchange.header(b"x-request-id")) == 1
    assert constant == {"type": "http.response.start", "status": 200}


@MODES
def test_application_runs_in_its_own_context_and_in_the_servers_task(mode: str) -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        token = colour.set("app")
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append((colour.get(), ctxkit.get("request_id")))
        await asyncio.create_task(child())
        colour.reset(token)
        await send(start())
        await send(body())
        colour.set("left behind")

    async def child() -> None:
        seen.append((colour.get(), ctxkit.get("request_id")))

    async def main() -> None:
        exchange = Exchange(headers=[(b"x-request-id", b"abc")])
        await exchange(ctxkit.ASGIMiddleware(app, mode=mode))
        assert seen == [asyncio.current_task(), ("app", "abc"), ("app", "abc")]
        assert colour.get() == "none"
        assert ctxkit.current() is ctxkit.context.NO_FRAME

    asyncio.run(main())


@MODES
def test_application_need_not_be_a_coroutine_function(mode: str) -> None:
    seen: list[object] = []

    class Later:
        def __init__(self, *args: Any) -> None:
            seen.append(ctxkit.get("request_id"))
            self.args = args

        def __await__(self) -> Any:
            seen.append(ctxkit.get("request_id"))
            return telling({})(*self.args).__await__()

    exchange = exchanged(
        ctxkit.ASGIMiddleware(Later, mode=mode), headers=[(b"x-request-id", b"abc")]
    )
    assert exchange.body == b"ok"
    assert seen == ["abc", "abc"]


@MODES
def test_error_comes_out_as_the_same_object_and_cancellation_goes_in(mode: str) -> None:
    error = LookupError("mine")
    seen: list[object] = []

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        raise error

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(ctxkit.get("request_id"))

    async def main() -> None:
        with pytest.raises(LookupError) as caught:
            await Exchange()(ctxkit.ASGIMiddleware(failing, mode=mode))
        assert caught.value is error
        exchange = Exchange(headers=[(b"x-request-id", b"abc")])
        task = asyncio.create_task(exchange(ctxkit.ASGIMiddleware(waiting, mode=mode)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == ["abc"]

    asyncio.run(main())


def test_timeout_inside_the_application_works() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        await send(start())
        await send(body(b"late"))

    assert exchanged(ctxkit.ASGIMiddleware(app, mode="always")).body == b"late"


@MODES
def test_coroutine_that_is_closed_ends_the_application(mode: str) -> None:
    seen: list[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(ctxkit.get("request_id"))

    async def main() -> None:
        exchange = Exchange(headers=[(b"x-request-id", b"abc")])
        coroutine = exchange(ctxkit.ASGIMiddleware(app, mode=mode))
        coroutine.send(None)
        coroutine.close()
        assert seen == ["abc"]
        assert not exchange.scope[CROSSING].open

    asyncio.run(main())


@MODES
def test_request_that_is_cancelled_at_its_very_end_is_closed_all_the_same(mode: str) -> None:
    scopes: list[Any] = []
    log: list[str] = []

    @ctxkit.function
    async def task() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaning.set()
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        task.start()
        await asyncio.sleep(0)
        await send(start())
        await send(body(b"ok"))

    async def main() -> None:
        request = asyncio.create_task(Exchange()(ctxkit.ASGIMiddleware(app, mode=mode)))
        await asyncio.wait_for(cleaning.wait(), 5)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    cleaning = asyncio.Event()
    asyncio.run(main())
    assert log == ["cleaned up"]
    assert scopes[0][CROSSING].frame is CLOSED


@MODES
def test_context_that_stays_with_the_connection_is_not_taken_over(mode: str) -> None:
    """As uvicorn does it: the next request starts from the context of the one before."""
    colours: list[str] = []
    frames: list[ctxkit.Frame] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        colours.append(colour.get())
        frames.append(ctxkit.current())
        colour.set("secret")
        kept.append(copy_context())
        await send(start())
        await send(body())

    kept: list[Any] = []
    middleware = ctxkit.ASGIMiddleware(app, mode=mode)

    async def main() -> None:
        await Exchange()(middleware)
        # Pipelined: from within. Kept alive: from what is left behind.
        await asyncio.create_task(Exchange()(middleware), context=kept[0])
        assert colours == ["none", "none"]
        assert frames[0] is not frames[1]
        assert frames[1].root is frames[1]

    asyncio.run(main())


def test_context_of_a_finished_request_holds_nothing_of_it() -> None:
    contexts: list[Any] = []

    class Server(Exchange):
        async def send(self, event: Any) -> None:
            await super().send(event)
            # What a transport keeps when the response makes it read on.
            asyncio.get_running_loop().call_soon(lambda: None)
            contexts.append(self.scope[CROSSING].context)

    exchanged(ctxkit.ASGIMiddleware(telling({}), mode="never"), Server())
    assert {context[CURRENT] for context in contexts} == {CLOSED}


def test_nested_boundary_adds_its_values_and_passes_through(
    sink: RecordingSink, timeline: list[object]
) -> None:
    seen: dict[str, object] = {}

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        options = BoundaryOptions.resolve("always")
        await cross_asgi(telling(seen), scope, receive, send, options, {"user": "u"})

    async def main() -> Exchange:
        return await Exchange(timeline)(ctxkit.ASGIMiddleware(inner, mode="always"))

    exchange = asyncio.run(main())
    assert timeline == ["start", "flush", b"ok", "end"]
    assert seen["user"] == "u"
    assert exchange.header(b"x-request-id") == [str(seen["request_id"]).encode()]


def test_values_bound_around_the_server_are_inherited() -> None:
    seen: dict[str, object] = {}
    with ctxkit.bind(service="shop"):
        exchanged(ctxkit.ASGIMiddleware(telling(seen), mode="never"))
    assert seen["service"] == "shop"


def test_finished_crossing_in_a_reused_scope_counts_for_nothing() -> None:
    seen: dict[str, object] = {}
    middleware = ctxkit.ASGIMiddleware(telling(seen), mode="never")
    first = exchanged(middleware)
    assert exchanged(middleware, **first.scope).header(b"x-request-id") != first.header(
        b"x-request-id"
    )


def test_websocket_gets_a_frame_and_the_header_when_accepted() -> None:
    seen: dict[str, object] = {}
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(ctxkit.current())
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hi"})
        await send({"type": "websocket.close"})

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "websocket", "path": "/ws", "headers": [(b"x-request-id", b"abc")]}
    asyncio.run(ctxkit.ASGIMiddleware(app, mode="never")(scope, None, send))  # type: ignore[arg-type]
    assert seen == {"request_id": "abc", "path": "/ws", "protocol": "websocket"}
    assert sent[0] == {"type": "websocket.accept", "headers": [(b"x-request-id", b"abc")]}
    assert sent[1:] == [{"type": "websocket.send", "text": "hi"}, {"type": "websocket.close"}]


@pytest.mark.parametrize("end", ["complete", "failed"])
def test_lifespan_flushes_before_the_server_hears_of_the_end(
    sink: RecordingSink, timeline: list[object], end: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert ctxkit.current() is ctxkit.context.NO_FRAME
        await send({"type": "lifespan.startup.complete"})
        await send({"type": f"lifespan.shutdown.{end}"})

    async def send(event: Any) -> None:
        timeline.append(event["type"])

    remove = on_shutdown(lambda: timeline.append("shutdown")).remove
    try:
        scope = {"type": "lifespan"}
        asyncio.run(ctxkit.ASGIMiddleware(app, mode="never")(scope, None, send))  # type: ignore[arg-type]
    finally:
        remove()
    assert timeline[:2] == ["lifespan.startup.complete", "flush"]
    assert "shutdown" in timeline
    assert timeline[-1] == f"lifespan.shutdown.{end}"


def test_unknown_protocol_is_passed_on_untouched() -> None:
    seen: list[object] = []

    async def app(*args: Any) -> None:
        seen.extend(args)

    scope, receive, send = {"type": "mqtt"}, object(), object()
    asyncio.run(ctxkit.ASGIMiddleware(app, mode="always")(scope, receive, send))  # type: ignore[arg-type]
    assert seen == [scope, receive, send]
    assert scope == {"type": "mqtt"}


def test_ids_are_taken_over_by_the_one_rule() -> None:
    one = [bytes((byte,)) for byte in range(256)]
    edges = [b"", b"--", b"-a-.-", b"a" * 128, *(each * 129 for each in (b"a", b"-", b"."))]
    seen: dict[str, object] = {}
    app = ctxkit.ASGIMiddleware(telling(seen), mode="never")
    for inbound in (*one, *(b"a" + each for each in one), *edges):
        seen.clear()
        exchange = exchanged(app, headers=[(b"x-request-id", inbound)])
        told, refused = chosen_id(inbound.decode("latin-1"), trusted=True)
        taken = told.encode() == inbound
        assert (seen["request_id"] == told) == taken, inbound
        assert seen.get("client_request_id") == refused, inbound
        assert exchange.header(b"x-request-id") == [str(seen["request_id"]).encode()]
