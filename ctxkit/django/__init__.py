"""The django room: one line in ``MIDDLEWARE``, and each request has its frame.

``MIDDLEWARE = ["ctxkit.django.ContextMiddleware", ...]`` is enough.
``INSTALLED_APPS += ["ctxkit.django"]`` adds the system checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.django.holders import UserHolder as UserHolder
    from ctxkit.django.holders import current_request as current_request
    from ctxkit.django.holders import current_user as current_user
    from ctxkit.django.middleware import ContextMiddleware as ContextMiddleware
else:
    # Lazy: INSTALLED_APPS imports this package before settings may be read.
    _HOME = {
        "ContextMiddleware": "middleware",
        "UserHolder": "holders",
        "current_request": "holders",
        "current_user": "holders",
    }

    # Hidden from type checkers: a visible module __getattr__ makes every typo valid.
    def __getattr__(name: str) -> object:
        home = _HOME.get(name)
        if home is None:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        module = __import__(f"{__name__}.{home}", fromlist=(name,))
        value = globals()[name] = getattr(module, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOME})

    __all__ = tuple(_HOME)
