"""Real packages, each handling two requests by turns on one thread: who sees whom?

A program: its first argument, as JSON, is what ``CTXKIT["ADOPT"]`` lists; it prints what each
package that is installed saw.
"""

# ruff: noqa: PLC0415 - the packages want the settings, and few of them are installed

from __future__ import annotations

import contextlib
import json
import sys
from contextvars import copy_context
from importlib.util import find_spec
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

    Look = Callable[[], Any]
    #: Calls the second argument while a request of the first is being handled; and what is
    #: seen of it: its name, or a mark where the package keeps no more than that.
    Probe = tuple[Callable[[str, Look], Any], Look]

MARK = "marked"


def request_of(who: str) -> Any:
    from django.test import RequestFactory

    request = RequestFactory().get("/", {"who": who})
    request.user = who
    return request


def through(middleware: Callable[..., Any]) -> Callable[[str, Look], Any]:
    """Handle a request by way of a middleware of the package."""

    def during(who: str, look: Look) -> Any:
        from django.http import HttpResponse

        seen = []

        def view(request: Any) -> HttpResponse:
            seen.append(look())
            return HttpResponse()

        middleware(view)(request_of(who))
        return seen[0]

    return during


def inside(manager: Callable[[str], Any]) -> Callable[[str, Look], Any]:
    """Handle a request within a context manager of the package."""

    def during(who: str, look: Look) -> Any:
        with manager(who):
            return look()

    return during


def crum() -> Probe:
    import crum

    return through(crum.CurrentRequestUserMiddleware), lambda: whose(crum.get_current_request())


def whose(request: Any) -> str | None:
    return request and request.GET["who"]


def currentuser() -> Probe:
    from django_currentuser.middleware import ThreadLocalUserMiddleware, get_current_user

    return through(ThreadLocalUserMiddleware), get_current_user


def global_request() -> Probe:
    from django_middleware_global_request import get_request
    from django_middleware_global_request.middleware import GlobalRequestMiddleware

    return through(GlobalRequestMiddleware), lambda: whose(get_request())


def threadlocals() -> Probe:
    from threadlocals.middleware import ThreadLocalMiddleware
    from threadlocals.threadlocals import get_current_user

    return through(ThreadLocalMiddleware), get_current_user


def author() -> Probe:
    from author.middlewares import AuthorDefaultBackendMiddleware, get_request

    return through(AuthorDefaultBackendMiddleware), lambda: whose(get_request())


def edx() -> Probe:
    from edx_django_utils.cache import RequestCache
    from edx_django_utils.cache.middleware import RequestCacheMiddleware
    from edx_django_utils.db.read_replica import ReadReplicaRouter, read_queries_only

    handle = through(RequestCacheMiddleware)

    def during(who: str, look: Look) -> Any:
        def view() -> Any:
            RequestCache("tests").set("who", who)
            with read_queries_only():
                return look()

        return handle(who, view)

    def seen() -> Any:
        cached = RequestCache("tests").get_cached_response("who")
        replica = ReadReplicaRouter().db_for_read(None) == "read_replica"
        return cached.value if cached.is_found and replica else None

    return during, seen


def modeltranslation() -> Probe:
    from modeltranslation.thread_context import auto_populate_mode
    from modeltranslation.utils import auto_populate

    return inside(auto_populate), lambda: auto_populate_mode() or None


def multidb() -> Probe:
    from multidb import PinningReplicaRouter
    from multidb.pinning import use_primary_db

    def seen() -> str | None:
        return MARK if PinningReplicaRouter().db_for_read(None) == "default" else None

    return inside(lambda who: use_primary_db), seen


def dynamic_db() -> Probe:
    from dynamic_db_router import DynamicDbRouter, in_database

    def seen() -> str | None:
        database = DynamicDbRouter().db_for_read(None)
        return None if database == "default" else database

    return inside(in_database), seen


def lifecycle() -> Probe:
    from django.db import connections, models
    from django_lifecycle import LifecycleModelMixin, bypass_hooks_for, hook

    class Order(LifecycleModelMixin, models.Model):  # noqa: DJ008 - nobody prints it
        class Meta:
            app_label = "tests"

        @hook("before_save")
        def note(self) -> None:
            self.noted = True

        def save_base(self, *args: Any, **kwargs: Any) -> None:
            """Save nothing."""

    def seen() -> str | None:
        order = Order()
        order.save()
        connections.close_all()
        return None if hasattr(order, "noted") else MARK

    return inside(lambda who: bypass_hooks_for([Order])), seen


def cacheops() -> Probe:
    from cacheops.invalidation import no_invalidation

    return inside(lambda who: no_invalidation), lambda: MARK if no_invalidation.active else None


def tools() -> Probe:
    from django_tools.middlewares.threadlocal import ThreadLocalMiddleware, get_current_user

    return through(ThreadLocalMiddleware), get_current_user


def google_logging() -> Probe:
    from google.cloud.logging_v2.handlers._helpers import get_request_data_from_django
    from google.cloud.logging_v2.handlers.middleware import RequestMiddleware

    def seen() -> str | None:
        url = (get_request_data_from_django()[0] or {}).get("requestUrl", "")
        return url.partition("who=")[2] or None

    return through(RequestMiddleware), seen


#: By the distribution's name, what it is imported by, and its probe.
PROBES: dict[str, tuple[str, Callable[[], Probe]]] = {
    "django-author": ("author", author),
    "django-cacheops": ("cacheops", cacheops),
    "django-crum": ("crum", crum),
    "django-currentuser": ("django_currentuser", currentuser),
    "django-dynamic-db-router": ("dynamic_db_router", dynamic_db),
    "django-lifecycle": ("django_lifecycle", lifecycle),
    "django-middleware-global-request": ("django_middleware_global_request", global_request),
    "django-modeltranslation": ("modeltranslation", modeltranslation),
    "django-multidb-router": ("multidb", multidb),
    "django-threadlocals": ("threadlocals", threadlocals),
    "django-tools": ("django_tools", tools),
    "edx-django-utils": ("edx_django_utils", edx),
    "google-cloud-logging": ("google.cloud.logging_v2", google_logging),
}


def report(probe: Probe) -> dict[str, Any]:
    """Let bob's request begin and end while alice's waits, on her thread."""
    during, seen = probe
    alice, bob = copy_context(), copy_context()
    told: dict[str, Any] = {}

    def in_a_thread() -> None:
        told["thread"] = seen()

    def meanwhile() -> Any:
        told["stranger"] = bob.run(seen)
        told["bob"] = bob.run(during, "bob", seen)
        thread = ctxkit.Thread(target=in_a_thread)
        thread.start()
        thread.join(20)
        return seen()

    try:
        told["alice"] = alice.run(during, "alice", meanwhile)
    except AttributeError as error:  # what alice set was deleted by bob
        told["alice"] = repr(error)
    told["afterwards"] = seen()
    return told


def main(folder: str) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/empty"}
    names = ("default", "alice", "bob", "read_replica", "replica")
    settings.configure(
        ALLOWED_HOSTS=["*"],
        CACHEOPS_REDIS="redis://localhost/0",
        CTXKIT={"ADOPT": json.loads(sys.argv[1])},
        DATABASES=dict.fromkeys(names, database),
        INSTALLED_APPS=[
            "ctxkit.django",
            "django.contrib.contenttypes",
            "django.contrib.auth",
        ],
        REPLICA_DATABASES=["replica"],
    )
    django.setup()
    reports = {}
    for package, (module, probe) in PROBES.items():
        with contextlib.suppress(ModuleNotFoundError):
            if find_spec(module) is not None:
                reports[package] = report(probe())
    sys.stdout.write(json.dumps(reports))


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(temporary)
