"""Where a response tells how long it was held, and that nothing is told unless asked for."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
from helpers.asgi import Exchange as ASGIExchange
from helpers.asgi import body, start
from helpers.land import FakeSink
from helpers.wsgi import Exchange

import ctxkit
from ctxkit.boundary._server_timing import server_timing
from ctxkit.flushing import FlushReport, SinkResult, SinkStatus, add_sink, remove_sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

    from helpers.timeline import RecordingSink

TEXT = ("Content-Type", "text/plain")
FIELD = r"ctxkit-flush;dur=\d+\.\d, ctxkit-flush-recording;dur=\d+\.\d;desc=\"ok\""


def told(exchange: Exchange) -> list[str]:
    return exchange.header("Server-Timing")


def wsgi(app: Any, *, on: bool = True, **more: Any) -> Exchange:
    wrapped = ctxkit.WSGIMiddleware(app, mode="always", server_timing=on)
    return Exchange(**more)(wrapped)


def asgi(*events: dict[str, Any], on: bool = True, **scope: Any) -> ASGIExchange:
    async def app(_: object, __: object, send: Callable[..., Any]) -> None:
        for event in events:
            await send(event)

    wrapped = ctxkit.ASGIMiddleware(app, mode="always", server_timing=on)
    return asyncio.run(ASGIExchange(**scope)(wrapped))


def listed(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return [b"whole"]


def streamed(*parts: bytes, length: int | None = None, lazy: bool = False) -> Any:
    fields = [TEXT] if length is None else [TEXT, ("Content-Length", str(length))]

    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def content() -> Iterator[bytes]:
            if lazy:
                start_response("200 OK", fields)
            yield from parts

        if not lazy:
            start_response("200 OK", fields)
        return content()

    return app


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("parts", "length", "expected"),
    [((b"ab",), 2, True), ((b"a", b"b"), 2, False), ((b"ab",), None, False)],
)
def test_wsgi_stream_tells_it_where_its_first_chunk_completes_it(
    sink: RecordingSink, parts: tuple[bytes, ...], length: int | None, *, expected: bool, lazy: bool
) -> None:
    exchange = wsgi(streamed(*parts, length=length, lazy=lazy))

    assert exchange.body == b"ab"
    assert bool(told(exchange)) is expected


def test_wsgi_list_tells_how_long_it_was_held(sink: RecordingSink) -> None:
    [field] = told(wsgi(listed))

    assert re.fullmatch(FIELD, field)


def test_wsgi_response_without_content_tells_it(sink: RecordingSink) -> None:
    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("204 No Content", [])
        return iter(())

    assert len(told(wsgi(app))) == 1


def test_wsgi_written_response_cannot_tell_it(sink: RecordingSink) -> None:
    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response("200 OK", [TEXT])
        write(b"written")
        return [b", returned"]

    exchange = wsgi(app)

    assert exchange.body == b"written, returned"
    assert told(exchange) == []


def test_wsgi_error_page_takes_the_place_of_what_was_put_off(sink: RecordingSink) -> None:
    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        try:
            raise ValueError("late")
        except ValueError as error:
            problem = (ValueError, error, error.__traceback__)
            start_response("500 Oops", [TEXT, ("X-Error", "1")], problem)
        return [b"sorry"]

    exchange = wsgi(app)

    assert (exchange.status, exchange.header("X-Error"), len(told(exchange))) == (
        "500 Oops",
        ["1"],
        1,
    )


def test_wsgi_application_that_raises_has_started_its_response(sink: RecordingSink) -> None:
    def app(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [TEXT])
        raise LookupError("broken")

    exchange = Exchange()
    with pytest.raises(LookupError, match="broken"):
        exchange(ctxkit.WSGIMiddleware(app, mode="always", server_timing=True))

    assert exchange.status == "200 OK"


def test_asgi_response_of_one_body_tells_it(sink: RecordingSink) -> None:
    exchange = asgi(start((b"content-length", b"2")), body(b"ok"))

    [field] = exchange.header(b"server-timing")
    assert re.fullmatch(FIELD, field.decode())
    assert exchange.timeline == ["start", b"ok", "end"]


def test_asgi_response_without_content_tells_it(sink: RecordingSink) -> None:
    assert len(asgi(start(status=204), body()).header(b"server-timing")) == 1


@pytest.mark.parametrize(
    "events",
    [
        (start(), body(b"ok")),
        (start((b"content-length", b"2")), body(b"o", more=True), body(b"k")),
    ],
    ids=["unframed", "in parts"],
)
def test_asgi_response_whose_headers_have_left_cannot_tell_it(
    sink: RecordingSink, events: tuple[dict[str, Any], ...]
) -> None:
    exchange = asgi(*events)

    assert exchange.body == b"ok"
    assert exchange.header(b"server-timing") == []


def test_asgi_application_that_raises_after_its_headers_has_sent_them(sink: RecordingSink) -> None:
    async def app(_: object, __: object, send: Callable[..., Any]) -> None:
        await send(start((b"content-length", b"2")))
        raise LookupError("broken")

    exchange = ASGIExchange()
    with pytest.raises(LookupError, match="broken"):
        asyncio.run(exchange(ctxkit.ASGIMiddleware(app, mode="always", server_timing=True)))

    assert exchange.timeline == ["start"]


def test_response_tells_nothing_unless_asked_for(sink: RecordingSink) -> None:
    assert told(wsgi(listed, on=False)) == []
    assert asgi(start(status=204), body(), on=False).header(b"server-timing") == []


def test_response_with_nothing_to_flush_tells_nothing() -> None:
    quiet = FakeSink("quiet", waiting=0)
    add_sink(quiet)
    try:
        assert told(wsgi(listed)) == []
        assert asgi(start(status=204), body()).header(b"server-timing") == []
    finally:
        remove_sink(quiet)


def test_server_timing_of_sinks_with_odd_names_is_well_formed() -> None:
    results = (
        SinkResult('my "sink", 2', SinkStatus.TIMEOUT, 0.5, 1, "too late"),
        SinkResult("otel.traces", SinkStatus.EMPTY, 0.0, 0, ""),
    )

    assert server_timing(FlushReport("response", 0.5004, 0.5, results)) == (
        'ctxkit-flush;dur=500.4, ctxkit-flush-my--sink---2;dur=500.0;desc="timeout"'
    )


def test_server_timing_of_another_type_is_refused() -> None:
    with pytest.raises(ctxkit.ConfigurationError, match="server_timing must be a bool"):
        ctxkit.WSGIMiddleware(listed, server_timing="yes")  # type: ignore[arg-type]
