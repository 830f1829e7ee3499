"""Spans: one for each call, whatever happens in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.functions.interceptors import _opentelemetry, _sentry
from ctxkit.functions.interceptors._making import made

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan


def span(*, at: Collection[str] = ("call",)) -> Interceptor:
    """Record a span for each call: OpenTelemetry's, or else Sentry's, if one of them is in use.

    It bears the name of the function, is the current span of the body, and tells how long the
    body took (``ctxkit.service.duration``) apart from the wait for its pool
    (``ctxkit.wait.duration``). Attempts that fail are events in it, ``ctxkit.attempt.failed``,
    with their number, the class of the error and the pause; data of a span of Sentry's.

    Args:
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``. Instrumentations have
            spans for requests already.

    Context:
        Of the values that are bound, those become attributes whose keys declare the hop
        ``"log"``: who may read them in logs may read them in spans. No others, no arguments and
        no results are shown. The error that the caller gets is recorded, as OpenTelemetry does
        it: with its text.

        Where nothing is being traced, as in what was spawned, OpenTelemetry's span goes on with
        the trace that came along: its parent is the span of whoever has sent the call.

    Safety:
        Without a provider, and without Sentry, it costs two look-ups.
    """
    return made("span", 10, at, _spanned)


def _spanned(call: Call) -> Plan:
    result: Any
    tracer = _opentelemetry.tracer_in_use()
    if tracer is not None:
        result = yield from _opentelemetry.spanned(tracer, call)
        return result
    sdk = _sentry.sdk_in_use()
    if sdk is not None:
        result = yield from _sentry.spanned(sdk, call)
        return result
    return (yield call)
