"""Settings of the shop. What ctxkit needs is marked; all else is any Django project's."""

from __future__ import annotations

import os
from pathlib import Path

from config import telemetry
from config.database import database

BASE_DIR = Path(__file__).resolve().parent.parent

# For the comparison only: the same shop, but with the standard library where ctxkit was.
WITH_CTXKIT = not os.environ.get("SHOP_WITHOUT_CTXKIT")

# Who runs what is to outlive the request: "embedded", "django" or "celery".
ENGINE = os.environ.get("SHOP_ENGINE", "embedded")

SECRET_KEY = os.environ.get("SECRET_KEY", "an example keeps no secrets")
DEBUG = bool(os.environ.get("DEBUG"))
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "*").split(",")

INSTALLED_APPS = ["shop"]

MIDDLEWARE = [
    "django.middleware.common.CommonMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "shop.tenants.TenantMiddleware",
    "vendored.oldaudit.AuditMiddleware",
]

if WITH_CTXKIT:
    # The one line: a request has its id, and its telemetry lands before its last byte.
    MIDDLEWARE.insert(0, "ctxkit.django.ContextMiddleware")
    # System checks, and the CTXKIT dict.
    INSTALLED_APPS.append("ctxkit.django")
    # This package keeps its state in a threading.local: make that follow the request as well.
    CTXKIT = {"ADOPT": ["vendored.oldaudit._state"]}
    if ENGINE == "django":
        # Tasks of Django's framework take the context along, and can be an engine.
        CTXKIT["TASKS"] = True

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    },
]

DATABASES = {
    "default": database(
        os.environ.get("DATABASE_URL") or f"sqlite:///{BASE_DIR / 'shop.sqlite3'}",
    ),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch"), ("fr", "Français")]
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    # ctxkit.RequestIdFilter puts the id of its request on every record.
    "filters": {"request_id": {"()": "ctxkit.RequestIdFilter"}} if WITH_CTXKIT else {},
    "formatters": {
        "plain": {
            "format": "%(levelname)s %(request_id)s %(name)s: %(message)s"
            if WITH_CTXKIT
            else "%(levelname)s %(name)s: %(message)s",
        },
    },
    "handlers": {
        name: {**handler, "filters": ["request_id"] if WITH_CTXKIT else []}
        for name, handler in {
            "console": {"class": "logging.StreamHandler", "formatter": "plain"},
            **telemetry.LOG_HANDLERS,
        }.items()
    },
    "loggers": {
        # OpenTelemetry cannot send the request that Django puts on some records; it need not
        # say so.
        "opentelemetry.attributes": {"level": "ERROR"},
        # Mangum logs each response as it hands it over: after the last flush that can hold it.
        "mangum.http": {"level": "WARNING"},
    },
    "root": {"handlers": ["console", *telemetry.LOG_HANDLERS], "level": "INFO"},
}

telemetry.start_sentry()
