"""The framework's application, for a server of one's own choice: what GOOGLE_ENTRYPOINT is for."""

from __future__ import annotations

from pathlib import Path

import functions_framework
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

import ctxkit

_SOURCE = str(Path(__file__).with_name("served_function.py"))

# Outermost: Sentry's transaction ends around Flask, and the server span around that.
application = ctxkit.WSGIMiddleware(
    OpenTelemetryMiddleware(functions_framework.create_app("plain", _SOURCE))
)
