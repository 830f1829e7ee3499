"""Settings of a bare Django project, as its owner would write them, with ctxkit's one line.

Sentry and OpenTelemetry are set up as their documentation says, the OpenTelemetry SDK in
django_site_app.py.
"""

from __future__ import annotations

import os

import sentry_sdk

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
            "class": "opentelemetry.instrumentation.logging.handler.LoggingHandler",
            "filters": ["request_id"],
        },
    },
    "loggers": {"django.request": {"propagate": True}},
    "root": {"handlers": ["otel"], "level": "INFO"},
}

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], traces_sample_rate=1.0)
