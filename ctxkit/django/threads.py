"""The threads that Django's synchronous code runs on under ASGI, out of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from ctxkit.boundary.intercepted import intercepted_asgi
from ctxkit.exceptions import ConfigurationError
from ctxkit.functions.pools._strand import Strand

if TYPE_CHECKING:
    from ctxkit.boundary._asgi_types import Receive, Scope, Send
    from ctxkit.functions import Pool


@final
class SyncThreads:
    """Run the synchronous code of each request on one thread of a pool, under ASGI.

    Without it Django starts a thread for each request, and ends it with that. To be put around
    the application in ``asgi.py``: ``SyncThreads(get_asgi_application(), Pool.static(40))``.

    A request takes a thread at its first synchronous step, which Django makes at once (its own
    ``request_started``), and has it to its end: synchronous views, middlewares and signals,
    ``sync_to_async`` and the ORM of one request are on one thread, as database connections and
    transactions need it. So the pool limits how many requests are served at a time, those of
    asynchronous views too. One for which there is no room to wait is answered with 503.

    Args:
        application: Django's application, or what is around it.
        pool: Where the threads come from; not an inline one.

    Raises:
        ConfigurationError: The pool is inline, or this version of asgiref has no place for it.

    Safety:
        Not for sites whose responses stream for long, as server-sent events do: each holds a
        thread. Not where a view waits for another request to the same process: the pool may have
        no thread for that one. ``sync_to_async(thread_sensitive=False)`` goes to the loop's default
        executor, as ever. A ``threading.local`` is found again by a later request on the same
        thread, as under WSGI.
    """

    def __init__(self, application: Any, pool: Pool) -> None:
        if _EXECUTORS is None:
            raise ConfigurationError(
                "SyncThreads",
                "finds no place for a thread in asgiref",
                "Install asgiref 3.9 to 3.13.",
            )
        Strand(pool)  # tells at once if there is none
        self._application = application
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; other protocols than HTTP as if we were not here."""
        if scope["type"] != "http" or _EXECUTORS is None:
            await self._application(scope, receive, send)
            return
        strand = Strand(self._pool)
        try:
            # Django's own context within this one leaves it as it is. One that is given its
            # executor (asgiref 3.13) would refuse the calls of tasks that outlive the request.
            async with ThreadSensitiveContext() as context:
                _EXECUTORS[context] = strand
                try:
                    # Which answers that the pool is full.
                    await intercepted_asgi((), self._application, scope, receive, send)
                finally:
                    # Before asgiref ends it, which would start a thread to wait.
                    _EXECUTORS.pop(context, None)
        finally:
            strand.shutdown(wait=False)


# Where asgiref, all versions from 3.3 on, looks for the executor of a context.
_EXECUTORS: Final[Any] = getattr(SyncToAsync, "context_to_thread_executor", None)
