from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from helpers.land import FakeSink

from ctxkit.flushing import add_sink, after_restore, before_snapshot, flush, prepare, thawed
from ctxkit.lifecycle import run_after_restore, run_before_snapshot
from ctxkit.lifecycle._occasions import THAW

if TYPE_CHECKING:
    from ctxkit.testing import TelemetrySink


class Listening(FakeSink):
    """A sink that keeps what it is told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[Any] = []

    def on_thaw(self, gap: float) -> None:
        self.told.append(gap)

    def before_snapshot(self) -> None:
        self.told.append("before")

    def after_restore(self) -> None:
        self.told.append("after")


class Failing(FakeSink):
    """A sink that cannot be told anything."""

    def on_thaw(self, gap: float) -> None:
        raise OSError("no")

    before_snapshot = after_restore = on_thaw  # type: ignore[assignment]


def test_every_sink_is_told_whatever_the_others_do() -> None:
    listening = Listening("listening")
    for sink in (FakeSink("deaf"), Failing("failing"), listening):
        add_sink(sink)

    thawed(7.5)
    before_snapshot()
    after_restore()

    assert listening.told == [7.5, "before", "after"]


def test_sinks_are_told_by_the_occasions_themselves() -> None:
    listening = Listening("listening")
    add_sink(listening)
    prepare()

    THAW.run(7.5)
    run_before_snapshot()
    run_after_restore()

    assert listening.told == [7.5, "before", "after"]
    assert len(listening.timeouts) == 1, "what was recorded before was not flushed"


def connections_opened(backend: TelemetrySink, seen: set[Any]) -> int:
    """Return how many connections there are that were not seen yet, and see them."""
    listeners = (backend._sentry.listener, backend._otlp.listener)
    now = {connection for each in listeners for connection in each.connections}
    new = now - seen
    seen |= new
    return len(new)


OCCASIONS = {
    "a long freeze": lambda: thawed(61),
    "before a snapshot": before_snapshot,
    "after a restore": after_restore,
}


@pytest.mark.parametrize("occasion", OCCASIONS)
@pytest.mark.parametrize("concurrent", [False, True])
def test_sentry_opens_new_connections_after(
    occasion: str, backend: TelemetrySink, *, concurrent: bool
) -> None:
    sentry_sdk = pytest.importorskip("sentry_sdk")
    from helpers.land_sentry import sentry_set_up  # noqa: PLC0415 - needs the SDK

    from ctxkit.contrib.sentry import ConcurrentTransport  # noqa: PLC0415 - likewise

    seen: set[Any] = set()
    with sentry_set_up(backend.dsn, transport=ConcurrentTransport if concurrent else None):
        opened = []
        for before in (lambda: None, lambda: thawed(59), OCCASIONS[occasion]):
            before()
            sentry_sdk.capture_message("hello")
            assert flush(10).ok
            opened.append(connections_opened(backend, seen))

    assert opened == [1, 0, 1]


@pytest.mark.parametrize("occasion", OCCASIONS)
@pytest.mark.parametrize("concurrent", [False, True])
def test_opentelemetry_opens_new_connections_after(
    occasion: str,
    backend: TelemetrySink,
    monkeypatch: pytest.MonkeyPatch,
    *,
    concurrent: bool,
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from helpers.land_opentelemetry import otel_set_up  # noqa: PLC0415 - needs the SDK

    seen: set[Any] = set()
    with otel_set_up(backend.otlp_endpoint, monkeypatch, concurrent=concurrent) as otel:
        opened = []
        for before in (lambda: None, lambda: thawed(59), OCCASIONS[occasion]):
            before()
            otel.record()
            assert flush(10).ok
            opened.append(connections_opened(backend, seen))

    assert opened == [3, 0, 3]
