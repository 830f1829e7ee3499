"""Interceptors around Django's requests."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from helpers.django_site_calls import call_asgi, call_wsgi

import ctxkit
from ctxkit.boundary.intercepting import CHAIN
from ctxkit.exceptions import PoolFull

if TYPE_CHECKING:
    from collections.abc import Generator

    from django.http import HttpRequest


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{ctxkit.get('tenant')} {getattr(request, 'marked', 'unmarked')}")


async def aview(request: HttpRequest) -> HttpResponse:
    return view(request)


def full(request: HttpRequest) -> HttpResponse:
    raise PoolFull("images", 3)


async def afull(request: HttpRequest) -> HttpResponse:
    return full(request)


urlpatterns = [
    path("view", view),
    path("aview", aview),
    path("full", full),
    path("afull", afull),
]


def _by_wsgi(url: str) -> Any:
    return call_wsgi(WSGIHandler(), url)


def _by_asgi(url: str) -> Any:
    return call_asgi(ASGIHandler(), url)


def _by_client(url: str) -> Any:
    response = Client().get(url)
    return response.status_code, response.headers, response.content


def _by_async_client(url: str) -> Any:
    response = asyncio.run(AsyncClient().get(url))
    return response.status_code, response.headers, response.content


@pytest.fixture(params=[_by_wsgi, _by_asgi, _by_client, _by_async_client])
def get(request: pytest.FixtureRequest) -> Generator[Any]:
    before = CHAIN.all
    with override_settings(ROOT_URLCONF=sys.modules[__name__]):
        yield request.param
    CHAIN.replace(before)


@pytest.mark.rule("F-61")
@pytest.mark.parametrize("url", ["/view", "/aview"])
def test_interceptor_gets_the_request_and_its_response(get: Any, url: str) -> None:
    @ctxkit.interceptor(at={"http"})
    def marking(call: ctxkit.Call) -> Any:
        [request] = call.args
        request.marked = call.name
        with ctxkit.bind(tenant="acme"):
            response = yield call
        response.headers["X-Intercepted"] = str(ctxkit.get("path"))
        return response

    ctxkit.add_interceptor(marking)
    status, headers, body = get(url)
    assert (status, body) == (200, b"acme http GET")
    assert {**headers}.get("x-intercepted", {**headers}.get("X-Intercepted")) == url


def test_interceptor_answers_instead(get: Any) -> None:
    @ctxkit.interceptor(at={"http"})
    def answering(call: ctxkit.Call) -> Any:
        return HttpResponse("cached")
        yield call

    ctxkit.add_interceptor(answering)
    assert get("/full")[2] == b"cached"


def test_error_of_ours_that_an_interceptor_raises_is_answered(get: Any) -> None:
    @ctxkit.interceptor(at={"http"})
    def refusing(call: ctxkit.Call) -> Any:
        raise PoolFull("images", 3)
        yield call

    ctxkit.add_interceptor(refusing)
    assert get("/view")[::2] == (503, b"503 Service Unavailable\n")


@pytest.mark.parametrize("url", ["/full", "/afull"])
def test_error_of_ours_that_a_view_raises_is_answered(get: Any, url: str) -> None:
    assert get(url)[::2] == (503, b"503 Service Unavailable\n")
