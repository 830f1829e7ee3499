"""Install Sentry, OpenTelemetry and the handler in a given order, in a process of its own.

Usage: ``python -m helpers.django_site_order wsgi settings,handler``, with any order of
``settings`` (what runs in settings.py), ``sentry``, ``otel`` and ``handler``. Each path
asked for prints one line of JSON: what existed when the boundary flushed.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import django
import sentry_sdk
from django.apps import AppConfig
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from helpers.django_site_calls import call_asgi, call_wsgi
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, set_tracer_provider
from sentry_sdk.transport import Transport

from ctxkit.flushing import add_sink

if TYPE_CHECKING:
    from django.http import HttpRequest
    from sentry_sdk.envelope import Envelope

spans = InMemorySpanExporter()
captured: list[str] = []


class Witness:
    """A sink that notes what existed when it was asked to flush."""

    name = "witness"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def pending(self) -> int:
        return 1

    def flush(self, timeout: float) -> bool:
        servers = [s for s in spans.get_finished_spans() if s.kind is SpanKind.SERVER]
        self.seen = sorted({*captured, *(["server span"] if servers else [])})
        return True


class Memory(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        captured.extend(str(item.type) for item in envelope.items)


def install_sentry() -> None:
    sentry_sdk.init("http://public@127.0.0.1:1/1", transport=Memory, traces_sample_rate=1.0)


def install_otel() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    set_tracer_provider(provider)
    DjangoInstrumentor().instrument()


class Ready(AppConfig):
    """An app of the project that sets its telemetry up when Django is ready."""

    name = "helpers"
    steps: tuple[str, ...] = ()

    def ready(self) -> None:
        for step in self.steps:
            _STEPS[step]()


_STEPS: dict[str, Any] = {"sentry": install_sentry, "otel": install_otel}


def view(request: HttpRequest) -> HttpResponse:
    sentry_sdk.capture_message("hello")
    return HttpResponse("done")


async def aview(request: HttpRequest) -> HttpResponse:
    return view(request)


def broken(request: HttpRequest) -> HttpResponse:
    msg = "broken"
    raise RuntimeError(msg)


urlpatterns = [path("view", view), path("aview", aview), path("broken", broken)]


def main(protocol: str, in_settings: str, in_ready: str, after: str) -> None:
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="helpers.django_site_order",
        MIDDLEWARE=["ctxkit.django.ContextMiddleware"],
        INSTALLED_APPS=["ctxkit.django", "helpers.django_site_order.Ready"],
        CTXKIT={"FLUSH_MODE": "always"},
        LOGGING_CONFIG=None,
    )
    for step in filter(None, in_settings.split(",")):
        _STEPS[step]()
    sys.modules["helpers.django_site_order"] = sys.modules["__main__"]
    Ready.steps = tuple(filter(None, in_ready.split(",")))
    django.setup()
    app = get_wsgi_application() if protocol == "wsgi" else get_asgi_application()
    for step in filter(None, after.split(",")):
        _STEPS[step]()
    witness = Witness()
    add_sink(witness)
    for each in ("/view", "/aview", "/broken"):
        captured.clear()
        spans.clear()
        status, _, _ = (call_wsgi if protocol == "wsgi" else call_asgi)(app, each)
        told = {"path": each, "status": status, "seen": witness.seen}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
