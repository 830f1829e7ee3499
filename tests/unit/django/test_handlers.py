"""The boundary around Django's handlers, called as a server would."""

from __future__ import annotations

import gc
import logging
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper

import pytest
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler, StaticFilesHandler
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.http import HttpResponse
from django.test import override_settings
from django.test.client import AsyncClientHandler, ClientHandler
from helpers.django_site_calls import call_asgi, call_wsgi, lifespan
from helpers.django_site_unit import LATEST, Records

import ctxkit
from ctxkit.context import NO_FRAME, Frame
from ctxkit.context._current import CURRENT
from ctxkit.django import ContextMiddleware
from ctxkit.django.handlers import cross_handler, handler_being_built
from ctxkit.lifecycle import on_shutdown

if TYPE_CHECKING:
    from collections.abc import Iterator

BOTH = pytest.mark.parametrize(
    ("stock", "call"), [(WSGIHandler, call_wsgi), (ASGIHandler, call_asgi)], ids=["wsgi", "asgi"]
)
STREAMS = pytest.mark.parametrize(
    ("stock", "call", "path"),
    [(WSGIHandler, call_wsgi, "/stream"), (ASGIHandler, call_asgi, "/astream")],
    ids=["wsgi", "asgi"],
)
VIEWS = pytest.mark.parametrize("path", ["/plain", "/aplain"])


@pytest.fixture
def flushes() -> Iterator[list[ctxkit.FlushReport]]:
    from ctxkit.flushing import on_report  # noqa: PLC0415 - its cleanup is the fixture's

    found: list[ctxkit.FlushReport] = []
    remove = on_report(found.append)
    yield found
    remove()


@BOTH
@VIEWS
def test_handler_gives_each_request_its_frame(stock: Any, call: Any, path: str) -> None:
    status, headers, body = call(stock(), path, **{"X-Request-ID": "abc"})
    assert (status, headers["x-request-id"], body) == (200, "abc", b"abc")
    assert ctxkit.current() is NO_FRAME


class Greeting(ContextMiddleware):
    def process_view(self, request: Any, *_: object) -> HttpResponse:
        return HttpResponse(f"hello {ctxkit.get('request_id')}")


@BOTH
def test_subclass_of_the_middleware_does_what_it_adds(stock: Any, call: Any) -> None:
    with override_settings(MIDDLEWARE=[f"{__name__}.Greeting"]):
        handler = stock()
    status, headers, body = call(handler, "/plain", **{"X-Request-ID": "abc"})
    assert (status, headers["x-request-id"], body) == (200, "abc", b"hello abc")


@BOTH
def test_handler_without_our_middleware_stays_as_it_is(stock: Any, call: Any) -> None:
    with override_settings(MIDDLEWARE=[]):
        handler = stock()
    assert type(handler) is stock


@BOTH
def test_handler_says_that_it_is_of_the_class_it_was(stock: Any, call: Any) -> None:
    handler = stock()
    assert type(handler) is not stock
    assert handler.__class__ is stock
    assert isinstance(handler, stock)
    senders: list[object] = []

    def note(sender: object, **_: object) -> None:
        senders.append(sender)

    request_started.connect(note, sender=stock)
    try:
        call(handler, "/plain")
    finally:
        request_started.disconnect(note, sender=stock)
    assert senders == [stock]


@BOTH
def test_handler_is_crossed_once_however_often_its_middleware_is_loaded(
    stock: Any, call: Any
) -> None:
    handler = stock()
    before = type(handler)
    cross_handler(handler)
    handler.load_middleware(is_async=stock is ASGIHandler)
    assert type(handler) is before
    assert type(stock()) is before
    assert call(handler, "/plain", **{"X-Request-ID": "abc"})[2] == b"abc"


@BOTH
def test_other_handlers_of_the_class_are_not_crossed(stock: Any, call: Any) -> None:
    stock()
    with override_settings(MIDDLEWARE=[]):
        assert "x-request-id" not in call(stock(), "/plain")[1]


@BOTH
@VIEWS
def test_middleware_that_is_there_twice_opens_one_frame(stock: Any, call: Any, path: str) -> None:
    ours = "ctxkit.django.ContextMiddleware"
    with override_settings(MIDDLEWARE=[ours, ours]):
        handler = stock()
    finished: list[object] = []

    def note(**_: object) -> None:
        finished.append(ctxkit.get("request_id"))

    request_finished.connect(note)
    try:
        _, headers, body = call(handler, path)
    finally:
        request_finished.disconnect(note)
    assert [headers["x-request-id"], body.decode()] == finished * 2


@BOTH
def test_context_left_by_another_request_is_replaced_by_that_of_start_up(
    stock: Any, call: Any
) -> None:
    """Servers pass on the context of the request before, on the same connection."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    seen: list[str] = []

    def started() -> Any:
        variable.set("start-up")
        return stock()

    def left() -> None:
        variable.set("the other request")
        CURRENT.set(Frame({"request_id": "other"}))
        call(handler, "/plain")

    def note(**_: object) -> None:
        seen.append(variable.get())

    handler = copy_context().run(started)
    request_started.connect(note)
    try:
        copy_context().run(left)
    finally:
        request_started.disconnect(note)
    assert seen == ["start-up"]


class OwnWSGIHandler(WSGIHandler):
    def __call__(self, environ: Any, start_response: Any) -> Any:
        self.seen = ctxkit.get("request_id")
        return super().__call__(environ, start_response)


class OwnASGIHandler(ASGIHandler):
    """As Channels' own handler was, and some projects' are."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            return
        self.seen = ctxkit.get("request_id")
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize(
    ("own", "call"),
    [(OwnWSGIHandler, call_wsgi), (OwnASGIHandler, call_asgi)],
    ids=["wsgi", "asgi"],
)
def test_handler_of_the_projects_own_is_crossed_around_its_call(own: Any, call: Any) -> None:
    handler = own()
    assert call(handler, "/plain", **{"X-Request-ID": "abc"})[2] == b"abc"
    assert handler.seen == "abc"
    assert handler.__class__ is own


@BOTH
@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_patch_of_the_class_is_inside_whenever_it_was_made(
    stock: Any, call: Any, early: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry and other vendors replace ``__call__`` on Django's classes."""
    original, seen = stock.__call__, []

    def patched(self: Any, *args: Any) -> Any:
        seen.append(ctxkit.get("request_id"))
        return original(self, *args)

    if early:
        monkeypatch.setattr(stock, "__call__", patched)
    handler = stock()
    if not early:
        monkeypatch.setattr(stock, "__call__", patched)
    assert call(handler, "/plain", **{"X-Request-ID": "abc"})[2] == b"abc"
    assert seen == ["abc"]


@pytest.mark.parametrize(
    ("stock", "wrap", "call"),
    [
        (WSGIHandler, ctxkit.WSGIMiddleware, call_wsgi),
        (ASGIHandler, ctxkit.ASGIMiddleware, call_asgi),
    ],
    ids=["wsgi", "asgi"],
)
def test_application_wrapped_by_hand_too_is_crossed_once(
    stock: Any, wrap: Any, call: Any, flushes: list[ctxkit.FlushReport]
) -> None:
    with override_settings(CTXKIT={"FLUSH_MODE": "always"}):
        app = wrap(stock(), mode="always")
        _, headers, body = call(app, "/describe/7", **{"X-Request-ID": "abc"})
    assert headers["x-request-id"] == "abc"
    assert b'"route": "describe/<int:number>"' in body
    assert b'"same": true' in body
    assert [report.reason for report in flushes] == ["response"]


@pytest.mark.parametrize(
    ("stock", "static", "call"),
    [
        (WSGIHandler, StaticFilesHandler, call_wsgi),
        (ASGIHandler, ASGIStaticFilesHandler, call_asgi),
    ],
    ids=["wsgi", "asgi"],
)
def test_handler_inside_of_the_one_for_static_files_is_crossed(
    stock: Any, static: Any, call: Any
) -> None:
    """What ``runserver`` builds with django.contrib.staticfiles."""
    with override_settings(STATIC_URL="/static/", DEBUG=True):
        app = static(stock())
        assert call(app, "/plain", **{"X-Request-ID": "abc"})[2] == b"abc"


@STREAMS
def test_frame_lasts_until_the_response_was_closed(stock: Any, call: Any, path: str) -> None:
    seen: list[object] = []

    def note(**_: object) -> None:
        seen.append((ctxkit.get("request_id"), ctxkit.get("route")))

    request_finished.connect(note)
    try:
        call(stock(), path, **{"X-Request-ID": "abc"})
    finally:
        request_finished.disconnect(note)
    assert seen == [("abc", path[1:])]


def test_frame_lasts_until_the_server_has_closed_the_file_that_it_sends() -> None:
    handler = WSGIHandler()
    left: ContextVar[str] = ContextVar("left", default="nothing")
    bodies: list[object] = []
    seen: list[object] = []

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        body = handler({**environ, "wsgi.file_wrapper": FileWrapper}, start_response)
        bodies.append(type(body))
        return body

    def note(**_: object) -> None:
        seen.append(ctxkit.get("request_id"))
        left.set("by the request")

    request_finished.connect(note)
    try:
        _, _, content = call_wsgi(serve, "/file", **{"X-Request-ID": "abc"})
    finally:
        request_finished.disconnect(note)
    assert bodies == [FileWrapper]
    assert content.startswith(b'"""')
    assert seen == ["abc"]
    assert left.get() == "nothing"


@STREAMS
def test_request_is_gone_with_its_response_as_without_us(stock: Any, call: Any, path: str) -> None:
    """A request that holds itself waits for the garbage collector, and all it knows with it."""
    with override_settings(MIDDLEWARE=[]):
        plain = stock()
    alive = []
    for handler in (plain, stock()):
        call(handler, path)
        gc.collect()
        gc.disable()
        try:
            call(handler, path)
            alive.append(LATEST[path]() is not None)
        finally:
            gc.enable()
    # Django 6.1's task group keeps it under ASGI, on some versions of Python.
    assert alive[1] == alive[0]


@STREAMS
def test_streaming_body_runs_in_its_frame(stock: Any, call: Any, path: str) -> None:
    _, _, body = call(stock(), path, **{"X-Request-ID": "abc"})
    assert body == f"abc {path[1:]}\n".encode() * 2
    assert ctxkit.current() is NO_FRAME


@BOTH
@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/fail", 500)])
def test_django_request_records_carry_the_id(stock: Any, call: Any, path: str, status: int) -> None:
    handler, logger = Records(), logging.getLogger("django.request")
    logger.addHandler(handler)
    try:
        found = call(stock(), path, **{"X-Request-ID": "abc"})
    finally:
        logger.removeHandler(handler)
    assert (found[0], found[1]["x-request-id"]) == (status, "abc")
    [record] = [each for each in handler.records if getattr(each, "status_code", 0) == status]
    assert record.request_id == "abc"


@BOTH
@VIEWS
def test_response_is_flushed_in_mode_always_only(
    stock: Any, call: Any, path: str, flushes: list[ctxkit.FlushReport]
) -> None:
    handler = stock()
    call(handler, path)
    assert flushes == []
    with override_settings(CTXKIT={"FLUSH_MODE": "always"}):
        call(handler, path)
    assert [report.reason for report in flushes] == ["response"]


def test_lifespan_of_djangos_handler_is_spoken_and_ends_in_the_shutdown() -> None:
    called: list[int] = []
    remove = on_shutdown(lambda: called.append(1)).remove
    try:
        sent = lifespan(ASGIHandler())
    finally:
        remove()
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert called == [1]


def test_lifespan_of_the_projects_own_handler_stays_its_own() -> None:
    assert lifespan(OwnASGIHandler()) == ["lifespan.startup.complete"]


def test_websocket_is_refused_as_django_does() -> None:
    async def nothing(*_: object) -> Any: ...

    import asyncio  # noqa: PLC0415 - the one coroutine of this module run by hand

    scope = {"type": "websocket", "path": "/", "headers": []}
    with pytest.raises(ValueError, match="not websocket"):
        asyncio.run(ASGIHandler()(scope, nothing, nothing))


@pytest.mark.parametrize("kind", [ClientHandler, AsyncClientHandler])
def test_handlers_of_the_test_clients_are_left_alone(kind: Any) -> None:
    handler = kind()
    handler.load_middleware()
    assert type(handler) is kind


def test_handler_being_built_is_none_elsewhere() -> None:
    assert handler_being_built() is None

    def load_middleware() -> object:
        self = object()
        return self and ContextMiddleware(lambda _: None)

    assert isinstance(load_middleware(), ContextMiddleware)
