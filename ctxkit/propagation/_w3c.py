"""What may be handed on of W3C Trace Context (level 2) and W3C Baggage. Private.

https://www.w3.org/TR/trace-context-2/ and https://www.w3.org/TR/baggage/. Nothing is decoded:
what somebody else encoded goes on as it came, whole member by whole member.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Longer fields are not read at all, in characters.
HUGE: Final = 32_768
#: The longest tracestate and the longest baggage that are handed on, in characters.
LONGEST_FIELD: Final = 8192
#: The most members of a tracestate; one that has more is discarded.
TRACESTATE_MEMBERS: Final = 32
#: The most members of a baggage that are handed on.
BAGGAGE_MEMBERS: Final = 64
# Members are not looked at beyond this, empty ones included: the most that W3C's grammar knows.
_MOST_MEMBERS: Final = 180

# Members of a tracestate that are longer than this are the first to go.
_LONG_MEMBER: Final = 128
_BLANK: Final = " \t"

_is_parent = re.compile(
    r"([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[\x20-\x7e]*)?"
).fullmatch
_is_state_member = re.compile(
    r"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
).fullmatch
# A token of RFC 9110 section 5.6.2, and the characters that need no percent-encoding. All
# quantifiers are possessive: a long member must not be tried in many ways.
_KEY = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE = r"[ \t]*+=[ \t]*+[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*+"
_is_baggage_member = re.compile(
    rf"{_KEY}{_VALUE}(?:[ \t]*+;[ \t]*+{_KEY}(?:{_VALUE})?+)*+"
).fullmatch


def valid_traceparent(text: str) -> str | None:
    """Return ``text`` as a traceparent of version 00; None for an invalid one.

    Of a later version only what 00 knows is taken: the ids and whether it is sampled.
    """
    match = _is_parent(text.strip(_BLANK)) if len(text) <= HUGE else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    if version != "00":
        flags = f"{int(flags, 16) & 1:02x}"
    return f"00-{trace_id}-{parent_id}-{flags}"


def valid_tracestate(text: str) -> str:
    """Return ``text`` without blanks around its members; "" for an invalid tracestate.

    A key that comes twice goes on twice, as W3C's own tests want it.
    """
    if len(text) > HUGE or text.count(",") >= _MOST_MEMBERS:
        return ""
    members = _members(text)
    if len(members) > TRACESTATE_MEMBERS or not all(map(_is_state_member, members)):
        return ""
    return ",".join(_shortened(members))


def _shortened(members: list[str]) -> list[str]:
    """Return what fits into a tracestate: the long ones go first, then the last ones."""
    excess = sum(map(len, members)) + len(members) - 1 - LONGEST_FIELD
    kept = dict(enumerate(members))
    long = [place for place, member in kept.items() if len(member) > _LONG_MEMBER]
    for place in (*reversed(long), *reversed(kept)):
        if excess <= 0:
            break
        excess -= len(kept.pop(place, "")) + 1
    return [*kept.values()]


def valid_baggage(text: str) -> str:
    """Return the valid members of a baggage, without optional blanks; "" where there is none.

    Those that are beyond the limits are left out, the last ones first.
    """
    return ",".join(_fitting(_baggage_members(text))) if len(text) <= HUGE else ""


def merged_baggage(present: str, added: str, *, sentry: bool) -> str:
    """Return ``present`` as it is, with the members of ``added`` behind that have other keys.

    Args:
        present: What somebody else put there, and wins.
        added: A valid baggage.
        sentry: Whether Sentry's members may be added. They describe one trace together:
            where some are present, none are added.
    """
    keys = {_key_of(member) for member in _baggage_members(present)}
    sentry = sentry and not any(key.startswith("sentry-") for key in keys)
    new = (
        member
        for member in _baggage_members(added)
        if (key := _key_of(member)) not in keys and (sentry or not key.startswith("sentry-"))
    )
    before = present.strip(" \t,")
    return ",".join(_fitting(new, before))


def _fitting(members: Iterable[str], before: str = "") -> list[str]:
    """Return those of the first members, behind those that are there, that fit in."""
    kept = [before] if before else []
    count = count_of(before)
    length = len(before)
    for member in members:
        longer = length + len(member) + bool(kept)
        if count < BAGGAGE_MEMBERS and longer <= LONGEST_FIELD:
            kept.append(member)
            count += 1
            length = longer
    return kept


def _baggage_members(text: str) -> Iterator[str]:
    for member in _members(text):
        if _is_baggage_member(member):
            yield member.replace(" ", "").replace("\t", "")


def count_of(text: str) -> int:
    """Return how many members a list has, valid or not."""
    return len(_members(text))


def _key_of(member: str) -> str:
    return member.partition("=")[0]


def _members(text: str) -> list[str]:
    """Return what stands between the commas; nothing for nothing, which is allowed."""
    parts = text.split(",", _MOST_MEMBERS)[:_MOST_MEMBERS]
    return [*filter(None, (part.strip(_BLANK) for part in parts))]
