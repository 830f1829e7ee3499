"""When a response is complete for the client: HTTP's rules, without any input or output.

A client does not wait for the application to finish. It has the whole response once it has
the bytes that the framing announced: the header section alone where there can be no
content, the last byte of a Content-Length, or else the end that the server writes
(the last chunk, END_STREAM, a closed connection). RFC 9110 section 6.4.1 and RFC 9112
section 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, AnyStr

if TYPE_CHECKING:
    from collections.abc import Iterable


def has_no_content(method: str, status: int) -> bool:
    """Return whether the header section is the whole response, whatever the fields say."""
    # The most frequent first: every response comes here.
    if status == 200:  # noqa: PLR2004 - HTTP's own numbers, here and below
        return method == "HEAD"
    return method == "HEAD" or status in (204, 304) or 100 <= status < 200  # noqa: PLR2004


def announced_length(headers: Iterable[tuple[AnyStr, AnyStr]], name: AnyStr) -> int | None:
    """Return the Content-Length among ``headers``; None where there is no usable one.

    Of several the smallest counts: it is the first at which some client stops reading.
    Transfer-Encoding is not asked for. WSGI forbids it (PEP 3333, hop-by-hop) and ASGI
    servers must ignore it, so it never replaces a Content-Length on the wire.

    Args:
        headers: Names and values, all str or all bytes; names in any case.
        name: ``content-length`` in the type of ``headers``.
    """
    shortest = None
    size = len(name)
    for field, value in headers:
        # The length first: it tells most fields apart, and every response comes here.
        if len(field) == size and field.lower() == name and value.isascii() and value.isdigit():
            length = int(value)
            shortest = length if shortest is None else min(length, shortest)
    return shortest


class Completion:
    """Count one response towards the part that completes it.

    Safety:
        Belongs to one response; parts are counted in the order they are sent.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        # Content still to come until the client is satisfied; None: only the end tells.
        self._left: int | None = None

    def at_headers(
        self, method: str, status: int, headers: Iterable[tuple[AnyStr, AnyStr]], name: AnyStr
    ) -> bool:
        """Begin anew with a header section; return whether it completes the response."""
        self._left = 0 if has_no_content(method, status) else announced_length(headers, name)
        return self._left == 0

    def at_part(self, size: int) -> bool:
        """Count ``size`` bytes of content; return whether they complete the response."""
        if self._left is None:
            return False
        self._left -= size
        return self._left <= 0
