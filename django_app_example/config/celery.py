"""The shop's worker: ``SHOP_ENGINE=celery celery -A config.celery worker``."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_init

from config.telemetry import start_opentelemetry
from ctxkit.contrib.celery import install

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("shop", broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost"))
install(app)  # the context goes along with each task, and each is a boundary


@worker_process_init.connect
def _start(**_: object) -> None:
    start_opentelemetry()  # in each child: its exporters' threads do not survive a fork
