"""Settings of a bare Django project, as its owner would write them, with ctxkit's one line.

Sentry and OpenTelemetry are set up as their documentation says, the OpenTelemetry SDK in
django_site_app.py.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import sentry_sdk

# Before the instrumentation had one (0.61b0), it was the SDK's.
_LOGGING = "opentelemetry.instrumentation.logging.handler"
if find_spec(_LOGGING) is None:
    _LOGGING = "opentelemetry.sdk._logs"

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["*"]
DEBUG = False
USE_TZ = True
ROOT_URLCONF = "helpers.django_site_views"
MIDDLEWARE = ["ctxkit.django.ContextMiddleware"]
LANGUAGES = [("en", "English"), ("fr", "French"), ("de", "German")]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "ctxkit.RequestIdFilter"}},
    "handlers": {
        "otel": {
            "class": f"{_LOGGING}.LoggingHandler",
            "filters": ["request_id"],
        },
    },
    "loggers": {"django.request": {"propagate": True}},
    "root": {"handlers": ["otel"], "level": "INFO"},
}

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0)
