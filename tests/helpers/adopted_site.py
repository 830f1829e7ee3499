"""A Django project on two packages that keep the request in a ``threading.local``.

``ADOPTED`` in the environment, space-separated, is what ``CTXKIT["ADOPT"]`` lists.
"""

from __future__ import annotations

import asyncio
import os
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
    INSTALLED_APPS=["ctxkit.django"],
    MIDDLEWARE=[
        "ctxkit.django.ContextMiddleware",
        "crum.CurrentRequestUserMiddleware",
        "edx_django_utils.cache.middleware.RequestCacheMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="tests only",
)
django.setup()

from edx_django_utils.cache import RequestCache  # noqa: E402 - wants the settings

_meetings: dict[str, asyncio.Barrier] = {}


def seen() -> dict[str, str | None]:
    """Return whose request each package takes this for."""
    request = crum.get_current_request()
    cached = RequestCache("tests").get_cached_response("who")
    return {
        "crum": request and request.GET["who"],
        "edx": cached.value if cached.is_found else None,
    }


async def meet(request: HttpRequest) -> JsonResponse:
    """Remember who asks, wait for the other request, and say who one is taken for."""
    RequestCache("tests").set("who", request.GET["who"])
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
