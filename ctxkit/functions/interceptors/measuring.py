"""Metrics: how many calls there are, and how long they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctxkit.functions.interceptors import _opentelemetry
from ctxkit.functions.interceptors._making import made

if TYPE_CHECKING:
    from collections.abc import Collection

    from ctxkit.boundary.intercepting import Call, Interceptor, Plan


def metrics(*, at: Collection[str] = ("call",)) -> Interceptor:
    """Measure each call with the meter provider of OpenTelemetry, if one is set.

    ``ctxkit.function.duration`` is a histogram of seconds, with ``error.type`` for calls that
    failed: their number is that of its points which have it.
    ``ctxkit.function.active_calls`` counts those under way, ``ctxkit.function.wait.duration`` is
    a histogram of the seconds that calls waited for their pool. All have
    ``ctxkit.function.name``.

    Args:
        at: What it is put around: ``"call"``, ``"http"``, ``"task"``.

    Context:
        All attempts are one call. Within :func:`span` the points may have its trace as an
        exemplar.
    """
    return made("metrics", 12, at, _measured)


def _measured(call: Call) -> Plan:
    instruments = _opentelemetry.instruments_in_use()
    if instruments is None:
        return (yield call)
    result: Any = yield from _opentelemetry.measured(instruments, call)
    return result
