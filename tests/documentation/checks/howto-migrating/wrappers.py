from contextvars import ContextVar

import django
import pools
from django.conf import settings
from django.utils import translation
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

settings.configure(LANGUAGE_CODE="en")
django.setup()
tracer = TracerProvider().get_tracer("shop")
USER = ContextVar("user", default=None)


def spans():
    with tracer.start_as_current_span("order") as span:
        here = span.get_span_context()
        return [each == here for each in pools.all_ways(current_span)]


def current_span():
    return trace.get_current_span().get_span_context()


def same():
    USER.set("alice")
    return {"the span": spans(), "a variable": pools.all_ways(USER.get)[0]}


def rest():
    USER.set("alice")
    with translation.override("fr"):
        return {
            "language": pools.all_ways(translation.get_language),
            "user": pools.all_ways(USER.get),
        }


BEFORE = {"language": ["en", "en"], "user": ["alice", None]}
AFTER = {"language": ["fr", "fr"], "user": ["alice", "alice"]}
