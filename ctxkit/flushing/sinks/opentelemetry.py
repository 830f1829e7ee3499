"""OpenTelemetry: its SDK's providers, one sink for each signal."""

from __future__ import annotations

import sys


def suppress_instrumentation() -> None:
    """Keep OpenTelemetry's instrumentations from tracing what the current context does."""
    module = sys.modules.get("opentelemetry.context")
    key = getattr(module, "_SUPPRESS_INSTRUMENTATION_KEY", None)
    if module is not None and key is not None and not module.get_value(key):
        module.attach(module.set_value(key, True))  # noqa: FBT003 - a value, not a flag
