"""The built-in interceptors: what is put around calls, ready to be chosen.

Each name is a factory, imported at first use: what it returns goes to
:func:`ctxkit.add_interceptor` or to ``interceptors=`` of :func:`ctxkit.function`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.functions.interceptors.breaking import circuit_breaker as circuit_breaker
    from ctxkit.functions.interceptors.landing import flush as flush
    from ctxkit.functions.interceptors.limiting import limit as limit
    from ctxkit.functions.interceptors.measuring import metrics as metrics
    from ctxkit.functions.interceptors.repeating import retry as retry
    from ctxkit.functions.interceptors.requiring import requires as requires
    from ctxkit.functions.interceptors.telling import log as log
    from ctxkit.functions.interceptors.timing import timeout as timeout
    from ctxkit.functions.interceptors.tracing import span as span
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "breaking": ("circuit_breaker",),
            "landing": ("flush",),
            "limiting": ("limit",),
            "measuring": ("metrics",),
            "repeating": ("retry",),
            "requiring": ("requires",),
            "telling": ("log",),
            "timing": ("timeout",),
            "tracing": ("span",),
        },
    )
