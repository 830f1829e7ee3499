"""A WSGI response that is not held: the hot path of every request where nothing freezes."""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any, final

from ctxkit.boundary._wsgi_file import as_sent
from ctxkit.context._arrival import rehome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from ctxkit.boundary.crossing import Crossing


def cross_passed(
    crossing: Crossing,
    app: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    """Run ``app`` in the context of its crossing, and its body with it."""
    try:
        body = crossing.context.run(app, environ, _stamped(crossing, start_response))
        if type(body) not in (list, tuple):
            whole, body = as_sent(body, environ, crossing.context)
            if not whole:
                return _Passed(crossing, body)
    except BaseException:
        crossing.close()
        raise
    # Nothing more is going to happen in the application.
    crossing.close()
    return body


@final
class _Passed:
    """Be the iterable that the server gets: the application's, run in its context."""

    __slots__ = ("_body", "_context", "_crossing", "_next", "_thread")

    def __init__(self, crossing: Crossing, body: Iterable[bytes]) -> None:
        self._crossing = crossing
        self._context = crossing.context
        self._body: Any = body
        self._next = self._context.run(iter, body).__next__
        self._thread = get_ident()

    def __iter__(self) -> _Passed:
        return self

    def __next__(self) -> bytes:
        if get_ident() != self._thread:
            self._move()
        return self._context.run(self._next)

    def close(self) -> None:
        """Close the application's iterable in its context; once, however often called."""
        body, self._body = self._body, None
        if get_ident() != self._thread:
            self._move()
        try:
            if hasattr(body, "close"):
                self._context.run(body.close)
        finally:
            self._crossing.close()

    def __del__(self) -> None:
        # Somebody in between has dropped it and not closed it.
        crossing = self._crossing
        if crossing.open:
            crossing.close()

    def _move(self) -> None:
        """Follow a server that goes on in another thread."""
        self._thread = get_ident()
        self._context.run(rehome)


def _stamped(crossing: Crossing, start_response: StartResponse) -> StartResponse:
    """Return ``start_response`` with the request's id added to the headers."""
    name = crossing.options.request_id_header
    if name is None:
        return start_response
    wanted = crossing.options.lower_name
    stamp = (name, crossing.request_id)

    def stamped(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
        for field, _ in headers:
            if field.lower() == wanted:
                break
        else:
            headers = [*headers, stamp]
        if exc_info is None:
            return start_response(status, headers)
        try:
            return start_response(status, headers, exc_info)
        finally:
            exc_info = None  # PEP 3333: or it is a circular reference

    return stamped
