"""Sending the id of a request out with its response, over ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ctxkit.boundary._asgi_types import Message, Send

#: The events that have a header section of the response.
WITH_HEADERS: Final = frozenset(
    ("http.response.start", "websocket.accept", "websocket.http.response.start")
)


def add_stamp(headers: list[tuple[bytes, bytes]], stamp: tuple[bytes, bytes]) -> None:
    """Add the header field ``stamp`` unless there is one of its name."""
    name = stamp[0]
    size = len(name)
    for field, _ in headers:
        # The length first: it tells most fields apart, and every response comes here.
        if len(field) == size and field.lower() == name:
            return
    headers.append(stamp)


def stamping(send: Send, stamp: tuple[bytes, bytes]) -> Send:
    """Return ``send`` with ``stamp`` added to the headers of the response."""

    def stamped(message: Message) -> Awaitable[None]:
        if message["type"] in WITH_HEADERS:
            headers: list[tuple[bytes, bytes]] = [*(message.get("headers") or ())]
            add_stamp(headers, stamp)
            # A copy: the application may use its message again, for another request. And
            # its headers may be an iterator, which is used up now.
            message = {**message}
            message["headers"] = headers
        return send(message)

    return stamped
