"""Everything that real SDKs record for a request has arrived when its response is complete."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

for module in ("sentry_sdk", "opentelemetry.sdk", "opentelemetry.instrumentation.wsgi"):
    pytest.importorskip(module)
from helpers.servers import KINDS, Kind, Server  # noqa: E402 - after the skip

from ctxkit.testing import TelemetrySink  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

CHOSEN = [kind for kind in KINDS if kind.name in {"gunicorn-gthread", "uvicorn-h11", "hypercorn"}]


@pytest.mark.parametrize("kind", CHOSEN, ids=lambda kind: kind.name)
def test_every_item_of_every_request_is_acknowledged_before_the_last_byte(
    kind: Kind, tmp_path: Path
) -> None:
    if not kind.available:
        pytest.skip(f"{kind.name} is not installed")
    with TelemetrySink(latency=0.05) as sink:
        environ = {
            "CTXKIT_FLUSH_MODE": "always",
            "CTXKIT_FLUSH_TIMEOUT": "15",  # longer than a busy machine stands still
            "SENTRY_DSN": sink.dsn,
            "OTLP_ENDPOINT": sink.otlp_endpoint,
        }
        with Server(kind, f"helpers.served_sdks:{kind.protocol}", tmp_path, environ) as server:
            for number in range(5):
                sink.clear()
                with server.connect() as connection:
                    connection.send("/", headers={"X-Request-ID": f"id-{number}"})
                    response = connection.receive()
                    arrived = [item for item in sink.items if item.acknowledged]
                assert (response.status, response.body) == (200, b"abcd"), server.output()
                kinds = Counter(item.kind for item in arrived)
                assert kinds["sentry.event"] == 2
                assert kinds["sentry.transaction"] == 1
                assert kinds["otel.log"] == 2
                assert kinds["otel.metric"] >= 1
                spans = {item.name for item in arrived if item.kind == "otel.span"}
                assert {f"begin id-{number}", f"end id-{number}"} < spans
                assert any(name.startswith("GET") for name in spans)
