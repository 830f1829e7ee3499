"""Files that a WSGI server sends by itself: ``wsgi.file_wrapper`` (PEP 3333)."""

from __future__ import annotations

from _thread import get_ident
from functools import partial
from typing import TYPE_CHECKING, Any, final

from ctxkit.context._arrival import rehome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextvars import Context
    from wsgiref.types import WSGIEnvironment

# Where the wrappers that there are keep their file: wsgiref's and gunicorn's, waitress's.
_PLACES = ("filelike", "file")
_BLOCK = 65_536


def as_sent(
    body: Iterable[bytes], environ: WSGIEnvironment, context: Context
) -> tuple[bool, Iterable[bytes]]:
    """Return whether a body can go to the server as such, and what is to be iterated else.

    It can if it is the server's own ``wsgi.file_wrapper``, for ``sendfile``, and its file
    can be exchanged for one that is read and closed in ``context``, whoever does it.
    """
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type):
        return isinstance(body, wrapper) and _confine(body, context), body
    if wrapper is not None and hasattr(body, "read"):
        # uWSGI's is a function that returns the file, and need not be able to iterate.
        body = _Blocks(body)
    return False, body


def _confine(body: object, context: Context) -> bool:
    held: dict[str, Any] = getattr(body, "__dict__", {})
    for place in _PLACES:
        if place in held:
            held[place] = file = _ConfinedFile(held[place], context)
            if "close" in held:
                held["close"] = file.close
            return True
    return False


@final
class _ConfinedFile:
    """Stand for a file, read and closed in the context of its request."""

    __slots__ = ("_context", "_file", "_thread")

    def __init__(self, file: Any, context: Context) -> None:
        self._file = file
        self._context = context
        self._thread = get_ident()

    def read(self, *size: int) -> bytes:
        """Read on."""
        return self._run(self._file.read, *size)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            self._run(close)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def _run(self, f: Callable[..., Any], *args: Any) -> Any:
        if get_ident() != self._thread:  # waitress's other thread
            self._thread = get_ident()
            self._context.run(rehome)
        return self._context.run(f, *args)


@final
class _Blocks:
    """Iterate over a file by blocks."""

    __slots__ = ("_file",)

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Any:
        return iter(partial(self._file.read, _BLOCK), b"")

    def close(self) -> None:
        """Close the file, if it can be closed."""
        close = getattr(self._file, "close", None)
        if close is not None:
            close()
