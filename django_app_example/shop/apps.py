"""The shop as a Django application."""

from django.apps import AppConfig
from django.conf import settings


class ShopConfig(AppConfig):
    """Products, orders, and a page for each."""

    name = "shop"

    def ready(self) -> None:
        """Record a span for each call of a function, and choose who runs what is spawned."""
        if not settings.WITH_CTXKIT:
            return
        import ctxkit
        from ctxkit.functions import set_engine
        from ctxkit.functions.interceptors import span

        ctxkit.add_interceptor(span())
        set_engine(settings.ENGINE)
        if settings.ENGINE == "celery":
            import config.celery  # noqa: F401 - who sends needs the application, too
