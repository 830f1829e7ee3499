"""What a middleware adds to a request through Django, without a server."""

from __future__ import annotations

import asyncio
from time import process_time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import django
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["ctxkit.django", "django_guid"],
    DJANGO_GUID={"GUID_HEADER_NAME": "X-Request-ID"},
    ROOT_URLCONF="django_middleware",
    USE_TZ=True,
)
django.setup()

from asgi import HEADERS, SCOPE  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402 - needs the settings
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.signals import request_finished  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import RequestFactory, override_settings  # noqa: E402
from django.urls import path  # noqa: E402
from django_guid.signals import clear_guid  # type: ignore[import-untyped]  # noqa: E402
from measuring import Row, Turn, added_rows, race  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

GUID = "django-guid"
MIDDLEWARE = {
    "bare Django": [],
    "no-op middleware": ["django_middleware.Nothing"],
    "ctxkit.django.ContextMiddleware": ["ctxkit.django.ContextMiddleware"],
    GUID: ["django_guid.middleware.guid_middleware"],
}
ID = str(uuid4())


def view(request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse(b"ok")


async def async_view(request: HttpRequest) -> HttpResponse:
    """Answer, as a coroutine."""
    return HttpResponse(b"ok")


class Nothing:
    """Pass on, with whatever the next layer is."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Pass on."""
        return self.get_response(request)


urlpatterns = [path("wsgi", view), path("asgi", async_view)]


def measure(rounds: int) -> list[Row]:
    """Race the middlewares under both protocols."""
    turns = {name: _guarded(name, _wsgi_turn(_built(WSGIHandler, name))) for name in MIDDLEWARE}
    rows = added_rows("Django, WSGI", race(turns, rounds=2 * rounds, calls=30), GUID)
    loop = _Threadless()
    try:
        turns = {
            name: _guarded(name, _asgi_turn(loop, _built(ASGIHandler, name))) for name in MIDDLEWARE
        }
        rows += added_rows("Django, ASGI", race(turns, rounds=rounds, calls=15), GUID)
    finally:
        loop.close()
    return rows


class _Threadless(asyncio.SelectorEventLoop):
    """Run at once what is meant for another thread.

    Django starts a thread for each request, which takes longer than all that is compared
    here, now more and now less, and is the same for everyone.
    """

    def run_in_executor(self, executor: object, function: Any, *args: Any) -> Any:  # type: ignore[override]
        """Return a future that is done."""
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def _built(handler: type[Any], name: str) -> Any:
    with override_settings(MIDDLEWARE=MIDDLEWARE[name]):
        return handler()


def _guarded(name: str, turn: Turn) -> Turn:
    """Let django-guid's signal receiver cost django-guid only."""

    def guarded(calls: int) -> float:
        request_finished.disconnect(clear_guid)
        if name == GUID:
            request_finished.connect(clear_guid)
        return turn(calls)

    return guarded


def _wsgi_turn(handler: Any) -> Turn:
    headers = {name.decode(): value.decode() for name, value in HEADERS}
    environ = RequestFactory(headers={**headers, "X-Request-ID": ID}).get("/wsgi").environ

    def turn(calls: int) -> float:
        environs = [environ.copy() for _ in range(calls)]
        start = process_time()
        for each in environs:
            result = handler(each, _start_response)
            for _ in result:
                pass
            result.close()
        return process_time() - start

    return turn


def _start_response(status: str, headers: object, exc_info: object = None) -> None:
    pass


def _asgi_turn(loop: asyncio.AbstractEventLoop, handler: Any) -> Turn:
    headers = [*HEADERS, (b"x-request-id", ID.encode())]

    async def request() -> None:
        asked = False

        async def receive() -> dict[str, object]:
            nonlocal asked
            if asked:
                await loop.create_future()  # the client stays: Django cancels this
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        await handler({**SCOPE, "path": "/asgi", "headers": headers}, receive, _send)

    async def batch(calls: int) -> float:
        start = process_time()
        for _ in range(calls):
            await request()
        return process_time() - start

    return lambda calls: loop.run_until_complete(batch(calls))


async def _send(message: object) -> None:
    pass
