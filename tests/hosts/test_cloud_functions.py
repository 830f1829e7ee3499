"""Cloud Run functions: the real functions-framework, with no CPU once the response is complete."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("functions_framework")
from helpers.servers import python_path

from ctxkit.testing import FreezingServer, TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent.parent / "helpers" / "served_function.py"
FRAMEWORK = "import sys; from functions_framework._cli import _cli; sys.exit(_cli())"


@pytest.fixture
def sink() -> Iterator[TelemetrySink]:
    with TelemetrySink(latency=0.05) as sink:
        yield sink


def function(sink: TelemetrySink, target: str, **env: str) -> FreezingServer:
    """Return the framework with a function, and the variables that Cloud Run sets."""
    argv = [sys.executable, "-c", FRAMEWORK, "--port", "{port}", "--host", "127.0.0.1"]
    argv += ["--target", target, "--source", str(SOURCE)]
    return FreezingServer(argv, env=variables(sink, FUNCTION_TARGET=target, **env))


def variables(sink: TelemetrySink, **env: str) -> dict[str, str | None]:
    return {
        "PYTHONPATH": python_path(),
        "K_SERVICE": "served",
        "SENTRY_DSN": sink.dsn,
        "OTLP_ENDPOINT": sink.otlp_endpoint,
        "THREADS": "2",
        **env,
    }


def landed(server: FreezingServer, sink: TelemetrySink) -> list[Counter[str]]:
    """Ask a few times, and return what kinds of items had landed of each when it was complete."""
    found = []
    for number in range(4):
        exchange = server.request("GET", f"/?number={number}")
        assert (exchange.status, exchange.body) == (200, f"{number} done".encode())
        found.append(
            Counter(
                item.kind
                for item in sink.items
                if item.kind in ("sentry.event", "sentry.transaction", "otel.span")
                and item.acknowledged <= exchange.times.complete
            )
        )
    return found


def test_function_without_a_flush_is_throttled_before_it_has_landed(sink: TelemetrySink) -> None:
    with function(sink, "plain") as server:
        assert landed(server, sink)[-1]["otel.span"] == 0


def test_function_that_flushes_before_it_returns_has_landed_what_it_recorded(
    sink: TelemetrySink,
) -> None:
    with function(sink, "decorated") as server:
        found = landed(server, sink)
    assert [kinds["sentry.event"] for kinds in found] == [1, 2, 3, 4]
    assert [kinds["otel.span"] for kinds in found] == [1, 2, 3, 4]


def test_application_of_the_framework_in_the_middleware_has_landed_everything(
    sink: TelemetrySink,
) -> None:
    argv = [sys.executable, "-m", "gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}"]
    argv += ["--threads", "2", "helpers.served_function_app:application"]
    env = variables(sink, FUNCTION_TARGET="plain")
    with FreezingServer(argv, env=env) as server:
        found = landed(server, sink)
    assert [kinds["sentry.event"] for kinds in found] == [1, 2, 3, 4]
    assert [kinds["sentry.transaction"] for kinds in found] == [1, 2, 3, 4]
    assert [kinds["otel.span"] for kinds in found] == [2, 4, 6, 8]


def test_flush_leaves_the_time_limit_of_the_framework_to_the_function(
    sink: TelemetrySink,
) -> None:
    """It raises in the thread of a request that takes too long, in the midst of a flush even."""
    limits = {"CLOUD_RUN_TIMEOUT_SECONDS": "1", "THREADED_TIMEOUT_ENABLED": "true"}
    with function(sink, "decorated", **limits) as server:
        server.freeze = False
        assert server.request("GET", "/?number=0").status == 200
        sink.behaviour = "hang"
        slow = server.request("GET", "/?number=1&seconds=0.3")
        assert (slow.status, slow.body) == (200, b"1 done")
        assert server.request("GET", "/?number=2&seconds=2").status == 500
        sink.behaviour = "ok"
        assert server.request("GET", "/?number=3").status == 200
