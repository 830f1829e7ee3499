"""The shop for WSGI servers: ``gunicorn config.wsgi``."""

import os

from django.core.wsgi import get_wsgi_application

from config.telemetry import start_opentelemetry

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
start_opentelemetry()  # before Django loads its middleware: OpenTelemetry adds one of its own

application = get_wsgi_application()
