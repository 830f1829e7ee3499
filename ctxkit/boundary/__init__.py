"""The boundary room: where a request enters, and where its response leaves.

Every name is imported at first use: :func:`flush_before_return` on a plain function needs
neither asyncio nor logging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctxkit.boundary.asgi import ASGIMiddleware as ASGIMiddleware
    from ctxkit.boundary.asgi import cross_asgi as cross_asgi
    from ctxkit.boundary.crossing import CROSSING as CROSSING
    from ctxkit.boundary.crossing import Crossing as Crossing
    from ctxkit.boundary.decorators import flush_before_return as flush_before_return
    from ctxkit.boundary.entering import Entry as Entry
    from ctxkit.boundary.entering import invocation as invocation
    from ctxkit.boundary.intercepting import Call as Call
    from ctxkit.boundary.intercepting import Interceptor as Interceptor
    from ctxkit.boundary.intercepting import add_interceptor as add_interceptor
    from ctxkit.boundary.intercepting import either as either
    from ctxkit.boundary.intercepting import interceptor as interceptor
    from ctxkit.boundary.intercepting import remove_interceptor as remove_interceptor
    from ctxkit.boundary.invocations import Invocation as Invocation
    from ctxkit.boundary.keys import CLIENT_REQUEST_ID as CLIENT_REQUEST_ID
    from ctxkit.boundary.keys import COLD_START as COLD_START
    from ctxkit.boundary.keys import METHOD as METHOD
    from ctxkit.boundary.keys import PATH as PATH
    from ctxkit.boundary.keys import PROTOCOL as PROTOCOL
    from ctxkit.boundary.keys import REQUEST_ID as REQUEST_ID
    from ctxkit.boundary.log_filter import RequestIdFilter as RequestIdFilter
    from ctxkit.boundary.options import BoundaryOptions as BoundaryOptions
    from ctxkit.boundary.options import FlushMode as FlushMode
    from ctxkit.boundary.wsgi import WSGIMiddleware as WSGIMiddleware
    from ctxkit.boundary.wsgi import cross_wsgi as cross_wsgi
else:
    from ctxkit._lazy import open_lazily

    open_lazily(
        globals(),
        {
            "asgi": ("ASGIMiddleware", "cross_asgi"),
            "crossing": ("CROSSING", "Crossing"),
            "decorators": ("flush_before_return",),
            "entering": ("Entry", "invocation"),
            "intercepting": (
                "Call",
                "Interceptor",
                "add_interceptor",
                "either",
                "interceptor",
                "remove_interceptor",
            ),
            "invocations": ("Invocation",),
            "keys": ("CLIENT_REQUEST_ID", "COLD_START", "METHOD", "PATH", "PROTOCOL", "REQUEST_ID"),
            "log_filter": ("RequestIdFilter",),
            "options": ("BoundaryOptions", "FlushMode"),
            "wsgi": ("WSGIMiddleware", "cross_wsgi"),
        },
    )
