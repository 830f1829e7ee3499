"""Lambda hosts with a backend for what their functions record."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctxkit.testing import LambdaHost, TelemetrySink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ctxkit.testing import Item, LambdaResult

TESTS = Path(__file__).parent.parent
#: Python's, in the names of what the function of an invocation records.
KINDS = {"span": "otel.span", "event": "sentry.event"}


@contextmanager
def running(
    function: str = "handler",
    mode: str = "return",
    *,
    setup: str = "",
    latency: float = 0.05,
    env: Mapping[str, str | None] | None = None,
    **options: Any,
) -> Iterator[tuple[LambdaHost, TelemetrySink]]:
    """Run one of :mod:`helpers.lambda_functions` with a sink of its own."""
    with TelemetrySink(latency) as sink:
        environ = {
            "SENTRY_DSN": sink.dsn,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.otlp_endpoint,
            "FUNCTION_SETUP": setup,
            "CTXKIT_LAMBDA_MODE": mode,
            # Longer than a busy machine stands still.
            "CTXKIT_FLUSH_TIMEOUT": "15",
            # Where ctxkit is tested without being installed.
            "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path))),
            # Background exports would make up for a flush that was forgotten.
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
            **(env or {}),
        }
        name = f"helpers.lambda_functions.{function}"
        with LambdaHost(name, cwd=TESTS, env=environ, **options) as host:
            yield host, sink


def landed(sink: TelemetrySink, n: int, before: float) -> set[str]:
    """Return which kinds of the items of invocation ``n`` were acknowledged by then."""
    found = {
        item.kind
        for item in sink.items
        if item.name.endswith(f" {n}") and item.acknowledged <= before
    }
    return found & set(KINDS.values())


def all_landed(sink: TelemetrySink, n: int, result: LambdaResult) -> bool:
    """Return whether the items of invocation ``n`` had landed when the host was frozen."""
    assert result.times.stopped is not None, "the host was not frozen"
    return landed(sink, n, result.times.stopped) == set(KINDS.values())


def named(sink: TelemetrySink, kind: str) -> list[Item]:
    """Return the items of one kind."""
    return [item for item in sink.items if item.kind == kind]
