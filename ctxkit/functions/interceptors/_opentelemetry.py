"""Spans and metrics of OpenTelemetry, where it is in use.

Nothing is imported: who has set a provider has the API loaded. Without one, calls go on as if
there were none.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.functions.interceptors._account import open_account
from ctxkit.functions.interceptors._making import title_of
from ctxkit.functions.interceptors._shown import shown
from ctxkit.propagation._w3c import valid_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary.intercepting import Call, Plan

# Those that OpenTelemetry advises for durations in seconds.
# https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
_BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@final
class _Made:
    """Keep what was made of the global provider, until there is another one."""

    __slots__ = ("_get", "_make", "_module", "_provider", "_result")

    def __init__(self, module: str, get: str, make: Callable[[Any], Any]) -> None:
        self._module = module
        self._get = get
        self._make = make
        self._provider: Any = None
        self._result: Any = None

    def get(self) -> Any:
        """Return it; None where nobody has set a provider."""
        module = sys.modules.get(self._module)
        # While it is being imported, it does not have all of its names.
        get = getattr(module, self._get, None)
        if get is None:
            return None
        provider = get()
        if provider is not self._provider:
            # What stands for the one that may come: nothing would be recorded.
            proxy = type(provider).__module__.startswith("opentelemetry.") and type(
                provider
            ).__name__.strip("_").startswith("Proxy")
            self._result = None if proxy else self._make(provider)
            self._provider = provider
        return self._result


@final
class Instruments:
    """Hold what calls are measured with."""

    __slots__ = ("active", "duration", "wait")

    def __init__(self, provider: Any) -> None:
        meter = provider.get_meter("ctxkit")
        self.duration = meter.create_histogram(
            "ctxkit.function.duration",
            unit="s",
            description="How long calls took, with all attempts and pauses.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self.active = meter.create_up_down_counter(
            "ctxkit.function.active_calls",
            unit="{call}",
            description="How many calls are under way.",
        )
        self.wait = meter.create_histogram(
            "ctxkit.function.wait.duration",
            unit="s",
            description="How long calls waited for a place in their pool.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )


def _tracer(provider: Any) -> Any:
    return provider.get_tracer("ctxkit")


_TRACER: Final = _Made("opentelemetry.trace", "get_tracer_provider", _tracer)
_INSTRUMENTS: Final = _Made("opentelemetry.metrics", "get_meter_provider", Instruments)

tracer_in_use = _TRACER.get
instruments_in_use = _INSTRUMENTS.get


def spanned(tracer: Any, call: Call) -> Plan:
    """Go on with the call within a span of its own."""
    call, account = open_account(call)
    span = tracer.start_span(call.name, context=_parent(call), attributes=shown(call))

    def failed(number: int, error: BaseException, pause: float | None) -> None:
        attributes: dict[str, Any] = {"attempt": number, "error.type": title_of(error)}
        if pause is not None:
            attributes["pause"] = pause
        span.add_event("ctxkit.attempt.failed", attributes)

    account.listen(failed)
    begun = perf_counter()
    with sys.modules["opentelemetry.trace"].use_span(span, end_on_exit=True):
        try:
            return (yield call)
        except BaseException as error:
            span.set_attribute("error.type", title_of(error))
            raise
        finally:
            span.set_attribute("ctxkit.service.duration", account.served(perf_counter() - begun))
            if account.waited is not None:
                span.set_attribute("ctxkit.wait.duration", account.waited)


def _parent(call: Call) -> Any:
    """Return a context with the span that has sent the call; None where one is current here.

    What came out of a queue, or over a wire that nobody has instrumented, has it in its frame.
    """
    trace: Any = sys.modules["opentelemetry.trace"]
    if trace.get_current_span().get_span_context().is_valid:
        return None
    sent: object = call.frame.get("traceparent")
    # Anybody may have bound it.
    parent = valid_traceparent(sent) if isinstance(sent, str) else None
    if parent is None:
        return None
    _, trace_id, span_id, flags = parent.split("-")
    sampled = trace.TraceFlags(int(flags, 16))
    sender = trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, sampled)  # noqa: FBT003
    return trace.set_span_in_context(trace.NonRecordingSpan(sender))


def measured(instruments: Instruments, call: Call) -> Plan:
    """Go on with the call, and measure it."""
    call, account = open_account(call)
    told = {"ctxkit.function.name": call.name}
    outcome = told
    instruments.active.add(1, told)
    begun = perf_counter()
    try:
        return (yield call)
    except BaseException as error:
        outcome = {**told, "error.type": title_of(error)}
        raise
    finally:
        instruments.active.add(-1, told)
        instruments.duration.record(perf_counter() - begun, outcome)
        if account.waited is not None:
            instruments.wait.record(account.waited, told)
