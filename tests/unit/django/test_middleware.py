"""ContextMiddleware where there is no server: Django's own test clients."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.module_loading import import_string
from helpers.django_site_unit import Records

import ctxkit
from ctxkit.context import NO_FRAME
from ctxkit.django import ContextMiddleware
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler, logger = Records(), logging.getLogger("django.request")
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


def get(path: str, **headers: str) -> Any:
    return Client(raise_request_exception=False).get(path, headers=headers)


def aget(path: str, **headers: str) -> Any:
    return asyncio.run(AsyncClient(raise_request_exception=False).get(path, headers=headers))


BOTH = pytest.mark.parametrize("ask", [get, aget])


def test_middleware_resolves_by_its_dotted_path() -> None:
    assert import_string("ctxkit.django.ContextMiddleware") is ContextMiddleware


@BOTH
@pytest.mark.parametrize("path", ["/plain", "/aplain"])
def test_view_finds_its_frame_and_the_id_comes_back(ask: Any, path: str) -> None:
    response = ask(path, **{"X-Request-ID": "abc"})
    assert response.content == b"abc"
    assert response.headers["X-Request-ID"] == "abc"
    assert ctxkit.current() is NO_FRAME


@BOTH
def test_frame_says_what_is_known_of_the_request(ask: Any) -> None:
    assert ask("/describe/7", **{"X-Request-ID": "abc"}).json() == {
        "method": "GET",
        "path": "/describe/7",
        "protocol": "http",
        "request_id": "abc",
        "route": "describe/<int:number>",
        "same": True,
        "refused": None,
    }


@BOTH
def test_refused_inbound_id_is_replaced_and_kept(ask: Any) -> None:
    found = ask("/describe/7", **{"X-Request-ID": "a b"}).json()
    assert re.fullmatch("[0-9a-f]{32}", found["request_id"])
    assert found["refused"] == "a b"


@BOTH
@pytest.mark.parametrize("path", ["/plain", "/aplain"])
def test_settings_of_the_id_are_followed(ask: Any, path: str) -> None:
    with override_settings(CTXKIT={"REQUEST_ID_HEADER": "X-Trace"}):
        assert ask(path, **{"X-Trace": "abc"}).headers["X-Trace"] == "abc"
    with override_settings(CTXKIT={"REQUEST_ID_HEADER": None}):
        response = ask(path, **{"X-Request-ID": "abc"})
        assert "X-Request-ID" not in response.headers
        assert re.fullmatch(b"[0-9a-f]{32}", response.content)
    with override_settings(CTXKIT={"TRUST_REQUEST_ID": False}):
        assert ask(path, **{"X-Request-ID": "abc"}).content != b"abc"


@BOTH
def test_context_of_a_caller_is_followed_where_the_settings_trust_it(ask: Any) -> None:
    sent = {"Ctxkit-Context": 'v1 {"request_id":"sent"}'}
    assert ask("/plain", **sent).content != b"sent"
    with override_settings(CTXKIT={"TRUST_CONTEXT": True}):
        response = ask("/plain", **sent)
        assert response.content == b"sent"
        assert response.headers["X-Request-ID"] == "sent"


@BOTH
def test_failing_view_keeps_its_exception_and_gets_the_id(ask: Any) -> None:
    response = ask("/fail", **{"X-Request-ID": "abc"})
    assert response.status_code == 500
    assert response.headers["X-Request-ID"] == "abc"
    assert ctxkit.current() is NO_FRAME


@BOTH
@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/fail", 500)])
def test_django_request_records_carry_the_id(
    ask: Any, path: str, status: int, records: list[logging.LogRecord]
) -> None:
    ask(path, **{"X-Request-ID": "abc"})
    [record] = [each for each in records if getattr(each, "status_code", None) == status]
    assert record.request_id == "abc"


def test_streaming_body_runs_in_its_frame() -> None:
    response = get("/stream", **{"X-Request-ID": "abc"})
    assert ctxkit.current() is NO_FRAME
    assert response.getvalue() == b"abc stream\nabc stream\n"
    assert ctxkit.current() is NO_FRAME


def test_streaming_body_runs_in_its_frame_on_the_loop() -> None:
    async def ask() -> None:
        response = await AsyncClient().get("/astream", headers={"X-Request-ID": "abc"})
        chunks = [chunk async for chunk in response]
        assert chunks == [b"abc astream\n", b"abc astream\n"]
        assert ctxkit.current() is NO_FRAME

    asyncio.run(ask())


@BOTH
def test_frame_of_the_caller_is_neither_seen_nor_lost(ask: Any) -> None:
    with ctxkit.bind(request_id="the test's own", tenant="acme") as mine:
        assert ask("/plain", **{"X-Request-ID": "abc"}).content == b"abc"
        assert ctxkit.current() is mine


def test_request_from_a_factory_is_answered_without_a_handler() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(ctxkit.get("request") is request))

    response = ContextMiddleware(view)(RequestFactory().get("/"))
    assert response.content == b"True"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


@pytest.mark.parametrize("fails", ["", "fails"])
def test_deferred_coroutine_is_awaited_without_a_handler_too(fails: str) -> None:
    log: list[str] = []

    async def late() -> None:
        await asyncio.sleep(0)
        log.append(str(ctxkit.get("path")))

    async def view(_: HttpRequest) -> HttpResponse:
        ctxkit.defer(late)
        if fails:
            raise KeyError
        return HttpResponse()

    async def main() -> None:
        await ContextMiddleware(view)(RequestFactory().get("/late"))

    with pytest.raises(KeyError) if fails else nullcontext():
        asyncio.run(main())
    assert log == ["/late"]


def test_request_that_is_used_again_gets_a_frame_again() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(ctxkit.get("request") is request))

    middleware, request = ContextMiddleware(view), RequestFactory().get("/")
    for response in (middleware(request), middleware(request)):
        assert response.content == b"True"
        assert response.headers["X-Request-ID"]


def test_header_that_the_view_set_itself_is_left_alone() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"X-Request-ID": "mine"})

    response = ContextMiddleware(view)(RequestFactory().get("/"))
    assert response.headers["X-Request-ID"] == "mine"


def test_start_up_with_a_bad_setting_raises_its_name_and_the_fix() -> None:
    with (
        override_settings(CTXKIT={"FLUSH_MODE": "sometimes"}),
        pytest.raises(ConfigurationError, match=r'CTXKIT\["FLUSH_MODE"\].*Write "auto"'),
    ):
        get("/plain")


@BOTH
def test_sync_only_middleware_beside_it_sees_the_frame(ask: Any) -> None:
    with override_settings(
        MIDDLEWARE=["helpers.django_site_unit.sync_only", "ctxkit.django.ContextMiddleware"]
    ):
        assert ask("/plain", **{"X-Request-ID": "abc"}).content == b"abc"
    with override_settings(
        MIDDLEWARE=["ctxkit.django.ContextMiddleware", "helpers.django_site_unit.sync_only"]
    ):
        assert ask("/plain", **{"X-Request-ID": "abc"}).headers["X-Inner"] == "abc"
