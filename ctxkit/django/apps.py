"""The Django app: ``INSTALLED_APPS += ["ctxkit.django"]`` adds checks, and minds connections."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.core.checks import register

from ctxkit.django import checks, conf
from ctxkit.django.connections import CONNECTIONS
from ctxkit.exceptions import AdoptionError, ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType


class CtxkitConfig(AppConfig):
    """Register the checks, and do what ``CTXKIT`` says has to be done before models load."""

    name: str = "ctxkit.django"
    label: str = "ctxkit"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Errors are told by the checks, and raised when the server starts.
        with suppress(AdoptionError, ConfigurationError, ImportError):
            conf.adopt_declared()
        with suppress(ConfigurationError):
            conf.tasks_declared()

    def ready(self) -> None:
        """Register the checks, look after connections, and have functions be what settings say."""
        CONNECTIONS.connect()
        conf.authorize_users()
        with suppress(ConfigurationError):
            conf.configure_declared()
        register(checks.check_settings, "ctxkit")
        register(checks.check_functions, "ctxkit")
        register(checks.check_middleware, "ctxkit")
        register(checks.check_distributions, "ctxkit")
