"""``ctxkit``, or with SHOP_WITHOUT_CTXKIT=1 the standard library under the same names.

A project of your own has no such file: it says ``import ctxkit``.
"""

from django.conf import settings

if settings.WITH_CTXKIT:
    import ctxkit
else:
    from shop import plain as ctxkit

__all__ = ["ctxkit"]
