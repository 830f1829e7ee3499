"""What carrying costs beside the SDKs, and what the SDKs' own carrying does."""

from __future__ import annotations

from concurrent import futures
from typing import TYPE_CHECKING, Any

from carriers import STDLIB, pin, submissions
from opentelemetry import trace
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.trace import TracerProvider

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring import Row


def measure(rounds: int) -> list[Row]:
    """Race a pool of each SDK, and ours: first beside OpenTelemetry alone, then beside both."""
    pin()
    trace.set_tracer_provider(TracerProvider())
    tracer = trace.get_tracer("benchmark")
    ours: dict[str, Any] = {
        STDLIB: futures.ThreadPoolExecutor,
        "ctxkit": ctxkit.ThreadPoolExecutor,
    }
    rows: list[Row] = []
    for sdk, patch in (
        ("OpenTelemetry", ThreadingInstrumentor().instrument),
        ("Sentry", _init_sentry),
    ):
        pools = {name: kind(1) for name, kind in {**ours, sdk: _patched(patch)}.items()}
        with ctxkit.bind(request_id="benchmark"), tracer.start_as_current_span("request"):
            rows += submissions(f"submit(noop).result(), beside {sdk}", pools, rounds)
        for pool in pools.values():
            pool.shutdown()
    return rows


def _patched(patch: Callable[[], object]) -> type[futures.ThreadPoolExecutor]:
    """Return a pool whose ``submit`` is patched so; the standard library's stays plain."""
    plain: Any = futures.ThreadPoolExecutor
    submit = plain.submit
    patch()
    kind = type("Patched", (plain,), {"submit": plain.submit})
    plain.submit = submit
    return kind


def _init_sentry() -> None:
    # Here, since its presence alone has every hop look for its scopes.
    import sentry_sdk  # noqa: PLC0415
    from sentry_sdk.integrations.threading import ThreadingIntegration  # noqa: PLC0415

    sentry_sdk.init(
        dsn="http://public@127.0.0.1:1/1",
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[ThreadingIntegration()],
        auto_session_tracking=False,
    )
