"""The shop for ASGI servers: ``uvicorn config.asgi:application``."""

import os

from django.core.asgi import get_asgi_application

from config.telemetry import start_opentelemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
start_opentelemetry()  # before Django loads its middleware: OpenTelemetry adds one of its own

application = get_asgi_application()
