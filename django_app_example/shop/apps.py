"""The shop as a Django application."""

from django.apps import AppConfig
from django.conf import settings


class ShopConfig(AppConfig):
    """Products, orders, and a page for each."""

    name = "shop"

    def ready(self) -> None:
        """Record a span for each call of a function, in whichever thread or worker that is."""
        if settings.WITH_CTXKIT:
            import ctxkit
            from ctxkit.functions.interceptors import span

            ctxkit.add_interceptor(span())
