"""``CTXKIT["REPORT_LEAKS"]``: Django's own ways hold no request, and a view that does is named."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from helpers import django_site_unit
from helpers.django_site_calls import call_asgi, call_wsgi

import ctxkit
from ctxkit.boundary import _leak_report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

BOTH = pytest.mark.parametrize(
    ("stock", "call"), [(WSGIHandler, call_wsgi), (ASGIHandler, call_asgi)], ids=["wsgi", "asgi"]
)
KEPT: list[Any] = []


def leak(request: HttpRequest) -> HttpResponse:
    with ctxkit.bind(tenant="acme"):
        KEPT.append(ctxkit.capture())
    return HttpResponse("ok")


urlpatterns = [*django_site_unit.urlpatterns, path("leak", leak)]


@pytest.fixture(autouse=True)
def reporting(monkeypatch: pytest.MonkeyPatch, project: None) -> Iterator[None]:
    monkeypatch.setattr(_leak_report, "GRACE", 0.0)
    monkeypatch.setattr(_leak_report, "INTERVAL", 0.0)
    with override_settings(ROOT_URLCONF=__name__, CTXKIT={"REPORT_LEAKS": True}):
        yield
    _leak_report.stop()
    KEPT.clear()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "ctxkit"]


@BOTH
def test_clean_requests_say_nothing(
    stock: Any, call: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A thread of asgiref's that has given its result takes a moment to let go of what it ran.
    monkeypatch.setattr(_leak_report, "GRACE", 0.2)
    handler = stock()
    stream = "/stream" if stock is WSGIHandler else "/astream"
    for view in ("/plain", "/aplain", "/describe/7", stream, "/missing", "/fail", "/plain"):
        call(handler, view)
    time.sleep(0.2)
    call(handler, "/plain")
    assert told(caplog) == []


@BOTH
def test_view_that_keeps_a_snapshot_is_named(
    stock: Any, call: Any, caplog: pytest.LogCaptureFixture
) -> None:
    handler = stock()
    caplog.set_level(logging.WARNING)
    for view in ("/leak", "/plain", "/plain"):
        call(handler, view)
    [message] = told(caplog)
    assert "(GET /leak)" in message
    assert "tenant by leak (" in message
    assert f"held by Snapshot, in the global {__name__}.KEPT" in message


def test_test_clients_are_watched_too(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    for view in ("/plain", "/leak", "/plain"):
        client.get(view)
    assert len(told(caplog)) == 1
    _leak_report.stop()
    caplog.clear()

    import asyncio  # noqa: PLC0415 - here alone

    async def get(view: str) -> None:
        await AsyncClient().get(view)

    # A loop each: what a loop has still to do with a request holds it for that long.
    for view in ("/aplain", "/leak", "/aplain"):
        asyncio.run(get(view))
    assert len(told(caplog)) == 1
