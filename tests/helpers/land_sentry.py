"""Sentry for the tests of the flush engine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sentry_sdk

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def sentry_set_up(dsn: str, **options: Any) -> Iterator[Any]:
    """Initialise Sentry with a real client; take it away again afterwards."""
    options = {"default_integrations": False, "release": "shop@1", **options}
    sentry_sdk.init(dsn=dsn, **options)
    client = sentry_sdk.get_global_scope().client
    try:
        yield client
    finally:
        sentry_sdk.get_global_scope().set_client(None)
        # Not close(): that waits for a sink which the test has made hang.
        for name in ("session_flusher", "log_batcher", "metrics_batcher", "monitor"):
            component = getattr(client, name, None)
            if component is not None:
                component.kill()
        if client.transport is not None:
            client.transport.kill()
