"""What each server hands from one request to the next, without ctxkit.

The tests see each of these happen; ``docs/generate.py`` makes a table of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """How the values of one request come to another.

    Attributes:
        name: One word.
        what: What a client does to see it.
        why: What the server does.
        links: Where it is discussed in public.
        fixed_in: The first Python on which it no longer happens.
    """

    name: str
    what: str
    why: str
    links: tuple[str, ...] = ()
    fixed_in: tuple[int, int] | None = None

    @property
    def open(self) -> bool:
        return self.fixed_in is None or sys.version_info < self.fixed_in


THREAD = Way(
    "thread",
    "any later request",
    "A thread has one context for its whole life. The server calls the application in it, "
    "request after request.",
)
LARGE_BODY = Way(
    "large body",
    "a later request on a connection that had a body of more than 64 KiB",
    "The server stops reading while the application does not keep up, and asyncio goes on "
    "reading in the context of the request that does, for the rest of the connection.",
    (
        "https://github.com/python/cpython/issues/140947",
        "https://github.com/Kludex/uvicorn/issues/2167",
        "https://github.com/Kludex/starlette/issues/2335",
    ),
    fixed_in=(3, 15),
)
PIPELINING = Way(
    "pipelining",
    "a request that was sent before the response to the one before it",
    "The server starts it where that response ends: inside of the other request, whose "
    "context it copies.",
    (
        "https://github.com/Kludex/uvicorn/issues/3158",
        "https://github.com/langflow-ai/langflow/pull/14769",
    ),
)

WAYS = (THREAD, LARGE_BODY, PIPELINING)

#: By the names of the kinds in servers.py. Nothing is said of servers that leave nothing: with
#: another version they may.
LEAKS: dict[str, tuple[Way, ...]] = {
    "gunicorn-sync": (THREAD,),
    "gunicorn-gthread": (THREAD,),
    "uwsgi": (THREAD,),
    "waitress": (THREAD,),
    "hypercorn-wsgi": (THREAD,),
    "granian-wsgi": (THREAD,),
    "uvicorn-h11": (LARGE_BODY, PIPELINING),
    "uvicorn-httptools": (LARGE_BODY, PIPELINING),
    "uvicorn-uvloop": (PIPELINING,),
    "daphne": (PIPELINING,),
    "gunicorn-asgi": (),
    "hypercorn": (),
    "granian-asgi": (),
}
