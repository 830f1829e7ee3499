"""A Django project on packages that keep the request in a ``threading.local``.

``ADOPTED`` in the environment, space-separated, is what ``CTXKIT["ADOPT"]`` lists.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import crum
import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

settings.configure(
    ALLOWED_HOSTS=["*"],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    CTXKIT={"ADOPT": os.environ["ADOPTED"].split(), "FLUSH_MODE": "never"},
    INSTALLED_APPS=[
        "ctxkit.django",
        "django.contrib.contenttypes",
        "django.contrib.auth",
    ],
    MIDDLEWARE=[
        "ctxkit.django.ContextMiddleware",
        "helpers.adopted_site.name_user",
        "crum.CurrentRequestUserMiddleware",
        "django_currentuser.middleware.ThreadLocalUserMiddleware",
        "django_middleware_global_request.middleware.GlobalRequestMiddleware",
        "edx_django_utils.cache.middleware.RequestCacheMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="tests only",
)
django.setup()

from django_currentuser.middleware import get_current_user  # noqa: E402 - want the settings
from django_middleware_global_request import get_request  # noqa: E402
from edx_django_utils.cache import RequestCache  # noqa: E402
from modeltranslation.thread_context import auto_populate_mode  # noqa: E402
from modeltranslation.utils import auto_populate  # noqa: E402
from multidb.pinning import this_thread_is_pinned, use_primary_db  # noqa: E402

_meetings: dict[str, asyncio.Barrier] = {}


def name_user(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Log in whoever the request is of."""

    def middleware(request: HttpRequest) -> Any:
        request.user = request.GET["who"]  # type: ignore[assignment]  # a name is enough
        return get_response(request)

    return middleware


def seen() -> dict[str, str | bool | None]:
    """Return whose request each package takes this for."""
    requests = {"crum": crum.get_current_request(), "global_request": get_request()}
    cached = RequestCache("tests").get_cached_response("who")
    return {
        **{package: request and request.GET["who"] for package, request in requests.items()},
        "currentuser": get_current_user(),
        "edx": cached.value if cached.is_found else None,
        "modeltranslation": auto_populate_mode() or None,
        "multidb": this_thread_is_pinned(),
    }


async def meet(request: HttpRequest) -> JsonResponse:
    """Remember who asks, wait for the other request, and say who one is taken for."""
    who = request.GET["who"]
    RequestCache("tests").set("who", who)
    with auto_populate(who), use_primary_db if who == "alice" else nullcontext():
        return await _meet(request)


async def _meet(request: HttpRequest) -> JsonResponse:
    barrier = _meetings.setdefault(request.GET["meeting"], asyncio.Barrier(2))
    async with asyncio.timeout(10):
        await barrier.wait()
    answers: dict[str, Any] = {"view": seen()}
    carriers: dict[str, Callable[..., Any]] = {
        "to_thread": ctxkit.to_thread,
        "run_in_executor": lambda f: ctxkit.run_in_executor(None, f),
        "create_task": lambda f: ctxkit.create_task(ctxkit.to_thread(f)),
    }
    for name, carry in carriers.items():
        answers[name] = await carry(seen)
    return JsonResponse(answers)


async def first_look(request: HttpRequest) -> JsonResponse:
    """Say what is known before the request said anything."""
    return JsonResponse(seen())


urlpatterns = [path("meet", meet), path("first-look", first_look)]
application = get_asgi_application()
