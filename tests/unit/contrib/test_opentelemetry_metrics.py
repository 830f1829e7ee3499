from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import BrokenSink

from ctxkit import ConfigurationError
from ctxkit.contrib.opentelemetry_metrics import observe_flushes
from ctxkit.flushing import add_sink, engine, flush

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("opentelemetry.sdk.metrics")
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


@pytest.fixture(autouse=True)
def fresh_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fresh = engine.Engine()
    monkeypatch.setattr(engine, "_ENGINE", fresh)
    yield
    for lane in fresh._lanes:
        lane.retire()


def points(reader: InMemoryMetricReader) -> dict[tuple[str, str | None], Any]:
    found: dict[tuple[str, str | None], Any] = {}
    data = reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:  # type: ignore[union-attr]
        for point in metric.data.data_points:
            attributes = dict(point.attributes or {})
            assert attributes.pop("sink") == "broken"
            found[metric.name, attributes.get("status")] = point.value  # type: ignore[union-attr]
    return found


def test_observe_flushes_reports_what_became_of_them() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    add_sink(BrokenSink())
    observe_flushes(provider.get_meter("ctxkit"))
    for _ in range(3):
        flush(10)

    told = points(reader)

    assert told.pop(("ctxkit.flush.wait", None)) > 0
    assert told == {
        ("ctxkit.flush.results", "error"): 2,
        ("ctxkit.flush.results", "breaker"): 1,
        ("ctxkit.flush.passes", None): 2,
        ("ctxkit.flush.breaker_open", None): 1,
    }
    provider.shutdown()


@pytest.mark.parametrize("meter", [None, "meter"])
def test_observe_flushes_of_something_else_is_refused(meter: object) -> None:
    with pytest.raises(ConfigurationError, match="no meter of OpenTelemetry"):
        observe_flushes(meter)
