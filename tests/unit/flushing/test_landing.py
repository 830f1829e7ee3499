"""Both SDKs at once, as an application has them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

sentry_sdk = pytest.importorskip("sentry_sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

from helpers.land_opentelemetry import OTel, otel_set_up  # noqa: E402 - needs the SDKs
from helpers.land_sentry import sentry_set_up  # noqa: E402

from ctxkit.flushing import flush  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctxkit.testing import TelemetrySink


@pytest.fixture
def otel(backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch) -> Iterator[OTel]:
    with (
        sentry_set_up(backend.dsn, traces_sample_rate=1.0),
        otel_set_up(backend.otlp_endpoint, monkeypatch) as otel,
    ):
        yield otel
        backend.behaviour = "ok"  # else the shutdown waits for it


def work(otel: OTel) -> None:
    with sentry_sdk.start_transaction(name="checkout"):
        otel.record()
        sentry_sdk.capture_message("paid")


def test_flush_with_one_backend_hanging_names_it_and_lands_the_other(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.sentry_behaviour = "hang"
    work(otel)

    report = flush(0.5)

    assert report.seconds < 1.5
    late = {result.sink for result in report.results if result.status == "timeout"}
    assert late == {"sentry"}
    assert {item.kind for item in backend.items} == {"otel.span", "otel.log", "otel.metric"}


def test_flush_with_the_other_backend_hanging_names_that(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.otlp_behaviour = "hang"
    work(otel)

    report = flush(0.5)

    assert report.seconds < 1.5
    late = {result.sink for result in report.results if result.status == "timeout"}
    assert late == {"otel.traces", "otel.logs", "otel.metrics"}
    assert {item.kind for item in backend.items} == {"sentry.event", "sentry.transaction"}


def test_flush_of_many_requests_at_once_lands_each_before_it_returns(
    otel: OTel, backend: TelemetrySink
) -> None:
    backend.latency = 0.02

    def request(number: int) -> float:
        sentry_sdk.capture_message(f"request {number}")
        otel.record()
        assert flush(20).ok
        return time.time()

    with ThreadPoolExecutor(12) as pool:
        returned = list(pool.map(request, range(12)))

    landed = {item.name: item.acknowledged for item in backend.items if item.kind == "sentry.event"}
    assert all(landed[f"request {number}"] <= when for number, when in enumerate(returned))
    spans = [item for item in backend.items if item.kind == "otel.span"]
    assert len(spans) == 12
    assert all(item.acknowledged <= max(returned) for item in spans)
