"""The counters of the flushes as metrics of OpenTelemetry.

Nothing is imported here: who has a meter has the API loaded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import BreakerState, counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ctxkit.flushing import SinkCounters

    Point = tuple[float, dict[str, str]]


def observe_flushes(meter: Any) -> None:
    """Have ``meter`` report what became of all flushes, whenever its readers collect.

    ``ctxkit.flush.results`` counts what callers were told, by ``sink`` and ``status``;
    ``ctxkit.flush.passes`` how often a sink was flushed for them; ``ctxkit.flush.wait`` adds
    up how long they waited, in seconds; ``ctxkit.flush.breaker_open`` is 1 while a sink is
    given a rest. See :func:`ctxkit.flushing.counters`.

    Args:
        meter: A meter of OpenTelemetry. Call it once for each.

    Raises:
        ConfigurationError: ``meter`` is none.
    """
    observation = getattr(sys.modules.get("opentelemetry.metrics"), "Observation", None)
    if observation is None or not hasattr(meter, "create_observable_counter"):
        raise ConfigurationError(
            "observe_flushes()",
            f"got {meter!r}, which is no meter of OpenTelemetry",
            "Pass what opentelemetry.metrics.get_meter() returns.",
        )

    def watching(points: Callable[[str, SinkCounters], Iterable[Point]]) -> list[Any]:
        def observe(_: object) -> Iterator[Any]:
            for sink, told in counters().items():
                for value, attributes in points(sink, told):
                    yield observation(value, {"sink": sink, **attributes})

        return [observe]

    meter.create_observable_counter(
        "ctxkit.flush.results",
        watching(_results),
        unit="{flush}",
        description="What callers of a flush were told of a sink.",
    )
    meter.create_observable_counter(
        "ctxkit.flush.passes",
        watching(lambda _, told: [(told.passes, {})]),
        unit="{pass}",
        description="How often a sink was flushed.",
    )
    meter.create_observable_counter(
        "ctxkit.flush.wait",
        watching(lambda _, told: [(told.seconds, {})]),
        unit="s",
        description="How long all callers together waited for a sink.",
    )
    meter.create_observable_gauge(
        "ctxkit.flush.breaker_open",
        watching(lambda _, told: [(int(told.breaker is not BreakerState.CLOSED), {})]),
        unit="1",
        description="Whether a sink is given a rest.",
    )


def _results(_: str, told: SinkCounters) -> list[Point]:
    return [(count, {"status": status.value}) for status, count in told.results.items()]
