"""A Django configured in this process, and a few views, for the unit tests of the room."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

import ctxkit
from ctxkit.django import ContextMiddleware

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from django.http import HttpRequest

MIDDLEWARE = ["ctxkit.django.ContextMiddleware"]


def configure() -> None:
    """Configure Django once for the whole test process; tests override what they need."""
    if not settings.configured:
        settings.configure(
            SECRET_KEY="only for tests",
            ALLOWED_HOSTS=["*"],
            INSTALLED_APPS=[],
            USE_TZ=True,
            # Without this, logging.config would switch off loggers of other tests.
            LOGGING_CONFIG=None,
        )
        django.setup()


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(ctxkit.get("request_id")))


async def aplain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(ctxkit.get("request_id")))


def describe(request: HttpRequest, number: int) -> JsonResponse:
    frame = ctxkit.current()
    return JsonResponse(
        {name: frame[name] for name in ("method", "path", "protocol", "request_id", "route")}
        | {"same": frame["request"] is request, "refused": frame.get("client_request_id")}
    )


def fail(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("out of beans")


#: The latest request of each streaming view.
LATEST: dict[str, weakref.ref[HttpRequest]] = {}


def stream(request: HttpRequest) -> StreamingHttpResponse:
    LATEST[request.path] = weakref.ref(request)

    def body() -> Iterator[str]:
        for _ in range(2):
            yield f"{ctxkit.get('request_id')} {ctxkit.get('route')}\n"

    return StreamingHttpResponse(body())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    LATEST[request.path] = weakref.ref(request)

    async def body() -> AsyncIterator[str]:
        for _ in range(2):
            yield f"{ctxkit.get('request_id')} {ctxkit.get('route')}\n"

    return StreamingHttpResponse(body())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(Path(__file__).open("rb"))


class Subclass(ContextMiddleware):
    """What a project makes of the middleware for its own ends."""


def sync_only(get_response: Callable[[HttpRequest], HttpResponse]) -> Any:
    """Stand for the many middlewares that know no event loop."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers["X-Inner"] = str(ctxkit.get("request_id"))
        return response

    return middleware


urlpatterns = [
    path("plain", plain),
    path("aplain", aplain),
    path("describe/<int:number>", describe),
    path("fail", fail),
    path("stream", stream),
    path("astream", astream),
    path("file", file),
]


class Records(logging.Handler):
    """Keep what was logged, as a handler with ctxkit's filter on it sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(ctxkit.RequestIdFilter())
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
