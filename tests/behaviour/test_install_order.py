"""The boundary is outside of Sentry and OpenTelemetry, whichever was installed first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

# What runs in settings.py, in AppConfig.ready(), and once the application was made. Later
# than that DjangoInstrumentor does nothing: it is a middleware, and they are loaded by then.
ORDERS = {
    "settings": ("sentry,otel", "", ""),
    "ready": ("", "otel,sentry", ""),
    "sentry-after-the-application": ("otel", "", "sentry"),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_flush_comes_after_transaction_and_server_span(
    protocol: str, order: tuple[str, str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "helpers.django_site_order", protocol, *order],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        told = json.loads(line)
        assert told["status"] == (500 if told["path"] == "/broken" else 200)
        assert {"event", "transaction", "server span"} <= set(told["seen"]), told
    assert len(done.stdout.splitlines()) == 3
