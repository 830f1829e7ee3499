"""Who does what: an audit helper of 2014, when a thread served one request at a time.

It stands here for the many packages that still work like this. Left as it was found.
"""

import threading

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

_state = threading.local()


def set_actor(actor):
    """Remember who is acting."""
    _state.actor = actor


def get_actor():
    """Return who is acting, anywhere further down."""
    return getattr(_state, "actor", None)


class AuditMiddleware:
    """Take the actor from the request."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response):
        """Wrap the next layer."""
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request):
        """Note who is acting."""
        set_actor(request.headers.get("X-Actor", "guest"))
        return self.get_response(request)
