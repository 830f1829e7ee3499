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
    from ctxkit.django.threads import SyncThreads as SyncThreads
else:
    from ctxkit._lazy import open_lazily

    # INSTALLED_APPS imports this package before settings may be read.
    open_lazily(
        globals(),
        {
            "holders": ("UserHolder", "current_request", "current_user"),
            "middleware": ("ContextMiddleware",),
            "threads": ("SyncThreads",),
        },
    )
