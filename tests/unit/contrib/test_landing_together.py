"""Requests that end together have landed after one round trip, whatever the clock says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import ctxkit
from ctxkit.testing import TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS = 16


@pytest.fixture
def backend() -> Iterator[TelemetrySink]:
    # Long beside what 16 threads need to begin, short beside 17 round trips.
    with TelemetrySink(latency=0.3) as sink:
        yield sink


def fewest_round_trips(backend: TelemetrySink, kind: str, request: Callable[[int], None]) -> int:
    """Return how many round trips it takes, the best of three: under load a thread is late."""
    fewest = REQUESTS
    for _ in range(3):
        backend.clear()
        end_together(request)
        fewest = min(fewest, round_trips(backend, kind))
        if fewest == 1:
            break
    return fewest


def end_together(request: Callable[[int], None]) -> None:
    """Let requests, each held until its telemetry has landed, end at the same time."""
    start = threading.Barrier(REQUESTS)
    reports: list[Any] = []

    @ctxkit.flush_before_return
    def handler(number: int) -> None:
        start.wait()
        request(number)

    remove = ctxkit.flushing.on_report(reports.append)
    try:
        threads = [threading.Thread(target=handler, args=(n,)) for n in range(REQUESTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        remove()
    assert all(report.ok for report in reports), reports


def round_trips(backend: TelemetrySink, kind: str) -> int:
    """Return how many requests to the backend followed one another, at most.

    A request follows another that was answered before it arrived.
    """
    depths: list[tuple[float, int]] = []
    items = sorted(backend.items, key=lambda item: item.arrived)
    landed = [item for item in items if item.kind == kind]
    assert len(landed) == REQUESTS
    for item in landed:
        before = [depth for answered, depth in depths if answered <= item.arrived]
        depths.append((item.acknowledged, 1 + max(before, default=0)))
    return max(depth for _, depth in depths)


def test_what_sentry_records_has_landed_after_one_round_trip(backend: TelemetrySink) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    from helpers.land_sentry import sentry_set_up  # noqa: PLC0415 - needs the SDK

    from ctxkit.contrib.sentry import ConcurrentTransport  # noqa: PLC0415 - likewise

    def request(number: int) -> None:
        with (
            sentry_sdk.isolation_scope(),
            sentry_sdk.start_transaction(name=str(number), sampled=True),
        ):
            pass

    options = {"transport": ConcurrentTransport, "traces_sample_rate": 1.0}
    with sentry_set_up(backend.dsn, **options):
        assert fewest_round_trips(backend, "sentry.transaction", request) == 1


@pytest.mark.parametrize("signal", ["otel.span", "otel.log"])
def test_what_opentelemetry_records_has_landed_after_one_round_trip(
    backend: TelemetrySink, monkeypatch: pytest.MonkeyPatch, signal: str
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from helpers.land_opentelemetry import otel_set_up  # noqa: PLC0415 - needs the SDK

    with otel_set_up(backend.otlp_endpoint, monkeypatch, timeout=10, concurrent=True) as otel:

        def request(number: int) -> None:
            otel.record_one(signal)

        assert fewest_round_trips(backend, signal, request) == 1
