from contextvars import ContextVar

import django
import pools
import sentry_sdk
from django.conf import settings
from django.utils import translation
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

settings.configure(LANGUAGE_CODE="en")
django.setup()
# Nothing is sent: no event is captured. Their own patches are off, as it is about wrappers.
sentry_sdk.init(dsn="http://public@127.0.0.1:1/1", default_integrations=False)
tracer = TracerProvider().get_tracer("shop")
USER = ContextVar("user", default=None)
WAYS = [pools.in_own_pool, pools.in_any_pool]


def is_current(span):
    return trace.get_current_span().get_span_context() == span.get_span_context()


def tags():
    return dict(sentry_sdk.get_isolation_scope()._tags)


def tagged():
    before = tags()
    sentry_sdk.set_tag("job", "packing")
    return before


def same():
    USER.set("alice")
    with tracer.start_as_current_span("order") as span, sentry_sdk.isolation_scope():
        sentry_sdk.set_tag("order", "7")
        return {
            "the span": [way(lambda: is_current(span)) for way in WAYS],
            "the scope": [way(tags) for way in WAYS],
            "a variable in the own pool": pools.in_own_pool(USER.get),
        }


def left_on_the_request(way):
    with sentry_sdk.isolation_scope():
        way(tagged)
        return tags()


def rest():
    USER.set("alice")
    with translation.override("fr"):
        return {
            "language": [way(translation.get_language) for way in WAYS],
            "a variable in any pool": pools.in_any_pool(USER.get),
            "tags that the job left": [left_on_the_request(way) for way in WAYS],
        }


BEFORE = {
    "language": ["en", "en"],
    "a variable in any pool": None,
    "tags that the job left": [{"job": "packing"}, {}],
}
AFTER = {
    "language": ["fr", "fr"],
    "a variable in any pool": "alice",
    "tags that the job left": [{}, {}],
}
