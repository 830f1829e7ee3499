"""Request ids: which inbound ones are taken over, and what replaces the others."""

from __future__ import annotations

import re
from os import urandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 128

# fullmatch, since match with a trailing $ lets a newline through, and with it forged log lines.
is_well_formed: Callable[[str], re.Match[str] | None] = re.compile(
    rf"[A-Za-z0-9._\-]{{1,{LONGEST}}}"
).fullmatch


def chosen_id(inbound: str | None, *, trusted: bool) -> tuple[str, str | None]:
    """Return the id of a request, and the client's own if that was refused.

    An id goes into logs, headers and tags of other systems, so an inbound one is taken
    over only if it is 1 to 128 letters, digits, dots, underscores and dashes: this covers
    UUIDs, ULIDs, nginx's ``$request_id`` and trace ids, and nothing that needs escaping.

    Args:
        inbound: The value of the header, decoded as latin-1; None where there was none.
        trusted: Whether a well-formed inbound id is taken over.

    Returns:
        The id, and None or the refused inbound value, backslash-escaped to printable
        ASCII and cut to 128 characters.
    """
    if not inbound:
        return urandom(16).hex(), None
    if trusted and is_well_formed(inbound):
        return inbound, None
    return urandom(16).hex(), inbound[:LONGEST].encode("unicode_escape").decode()[:LONGEST]


def well_formed_id(text: str) -> str:
    """Return ``text`` if it may be the id of a request.

    Raises:
        ValueError: It may not.
    """
    if is_well_formed(text):
        return text
    raise ValueError("not 1 to 128 letters, digits, dots, underscores and dashes")
