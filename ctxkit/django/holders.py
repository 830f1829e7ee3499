"""What a frame knows of Django: the request, its user and its route.

A frame is made before Django has built its request, and is never changed. It holds an
opaque object of this module instead, which is given the request once there is one. That
is no lazy proxy: asgiref compares whole contexts at each ``sync_to_async``, and a
``SimpleLazyObject`` in one would be evaluated by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, final

from django.utils.functional import LazyObject, empty

from ctxkit.context import Lazy
from ctxkit.context import get as get_value

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.http import HttpRequest

    from ctxkit.context import Frame

#: Where the holder travels: in a WSGI environ or an ASGI scope, and in the frame, under a
#: name that :func:`ctxkit.bind` does not accept, so that nothing is laid over it.
HOLDER = "ctxkit.django"


@final
class UserHolder:
    """Stand for the user of a request, without asking the database before you do.

    ``ctxkit.get("user")`` is one of these inside a request.

    Safety:
        May be kept, passed on and compared (by identity) anywhere: only :meth:`get` and
        :meth:`aget` evaluate ``request.user``.

    Attributes:
        request: The request, or None before Django has made it.
    """

    __slots__ = ("request",)

    def __init__(self, request: HttpRequest | None = None) -> None:
        self.request: HttpRequest | None = request

    def get(self) -> AbstractBaseUser | AnonymousUser | None:
        """Return the user, loading it if need be; None where no middleware set one.

        Raises:
            django.core.exceptions.SynchronousOnlyOperation: The user was not loaded yet
                and an event loop runs in this thread. Use :meth:`aget` there.
        """
        user: Any = self._loaded()
        if user is not None:
            return cast("AbstractBaseUser | AnonymousUser", user)
        user = getattr(self.request, "user", None)
        if issubclass(type(user), LazyObject):
            user._setup()  # noqa: SLF001 - what the proxy does at its first attribute access
            user = user._wrapped  # noqa: SLF001 - callers may keep it; a proxy they may not
        return cast("AbstractBaseUser | AnonymousUser | None", user)

    async def aget(self) -> AbstractBaseUser | AnonymousUser | None:
        """Return the user, loading it if need be, from a coroutine."""
        user = self._loaded()
        if user is not None:
            return user
        load = getattr(self.request, "auser", None)
        return self.get() if load is None else await load()

    @property
    def id(self) -> object | None:
        """The primary key if the user was loaded, or None. Never loads anything."""
        return getattr(self._loaded(), "pk", None)

    def _loaded(self) -> AbstractBaseUser | AnonymousUser | None:
        if self.request is None:
            return None
        known = vars(self.request)
        user: Any = known.get("user")
        if issubclass(type(user), LazyObject):
            user = user._wrapped  # noqa: SLF001 - reading through it would load the user
        if user is None or user is empty:
            # Where django.contrib.auth.middleware keeps what user and auser() loaded.
            user = known.get("_cached_user", known.get("_acached_user"))
        return cast("AbstractBaseUser | AnonymousUser | None", user)

    def __repr__(self) -> str:
        return f"<UserHolder id={self.id!r}>"


def _request(frame: Frame) -> HttpRequest | None:
    holder: UserHolder = frame[HOLDER]  # type: ignore[assignment]
    return holder.request


def _route(frame: Frame) -> str | None:
    request = _request(frame)
    match = None if request is None else request.resolver_match
    return None if match is None else match.route


# Made once and not for each request: they find its holder in the frame that is read.
_LAZY = {"request": Lazy(_request), "route": Lazy(_route)}


def frame_values(holder: UserHolder) -> dict[str, object]:
    """Return what a frame holds of the request of ``holder``."""
    return {**_LAZY, "user": holder, "actor": holder, HOLDER: holder}


def current_request() -> HttpRequest | None:
    """Return the request at hand, or None outside of one.

    Context:
        Visible wherever the frame is: in the view, what it calls, threads and tasks that
        were started through ctxkit, and streaming bodies.
    """
    return cast("HttpRequest | None", get_value("request"))


def current_user() -> UserHolder | None:
    """Return the holder of the user of the request at hand, or None outside of one."""
    return cast("UserHolder | None", get_value("user"))
