"""Our own header: ``ctxkit-context: v1 {"request_id":"4f2a","tenant":"acme"}``. Private.

The version of the format, a space, and a JSON object of names and scalars, all of it printable
ASCII. The same rules hold for writing and for reading, so what is written can be read. A value
that breaks one is left out, whole; an object that is malformed is refused, whole.
"""

from __future__ import annotations

import re
from json import JSONDecoder, JSONEncoder
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ctxkit.context import Key

HEADER: Final = "ctxkit-context"
VERSION: Final = "v1"

#: The longest header, in characters.
LONGEST_HEADER: Final = 4096
#: The longest text of a value, in characters, before it is escaped.
LONGEST_VALUE: Final = 1024
#: The widest whole number, in bits: a trace id, or a UUID, is one of 128.
WIDEST_NUMBER: Final = 128
#: The most keys of a header.
MOST_KEYS: Final = 64

# Cc, Cs, Zl and Zp: what breaks a line of a log, or an encoder.
_unsafe = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search


class UnfitError(ValueError):
    """Say in fixed words why something stays behind; never with a value in them."""


def write(bound: Iterable[tuple[Key[Any], object]], faults: list[str]) -> str:
    """Return the header for these values; "" for none.

    Args:
        bound: Keys and their values, those first that are to be there if not all fit.
        faults: Gets a line for each that is left out.
    """
    members: list[str] = []
    room = LONGEST_HEADER - len(_framed(""))
    for key, value in bound:
        try:
            member = f"{_encode(key.name)}:{_encode(_dumped(key, value))}"
            cost = len(member) + bool(members)
            if cost > room or len(members) == MOST_KEYS:
                raise UnfitError(f"{LONGEST_HEADER} characters or {MOST_KEYS} keys are full")  # noqa: TRY301
        except UnfitError as error:
            faults.append(f"{key.name}: {error}")
        else:
            members.append(member)
            room -= cost
    return _framed(",".join(members)) if members else ""


def _framed(members: str) -> str:
    return f"{VERSION} {{{members}}}"


def read(text: str) -> tuple[tuple[str, object], ...]:
    """Return the names and the raw values of a header.

    Raises:
        UnfitError: It is malformed.
    """
    text = text.strip(" \t")
    if len(text) > LONGEST_HEADER:
        raise UnfitError(f"longer than {LONGEST_HEADER} characters")
    if not (text.isascii() and text.isprintable()):
        raise UnfitError("not printable ASCII")
    version, _, body = text.partition(" ")
    if version != VERSION:
        raise UnfitError(f"not of version {VERSION}")
    try:
        members = _decode(body)
    except (ValueError, RecursionError):
        raise UnfitError("not JSON") from None
    if type(members) is not tuple:
        raise UnfitError("not a JSON object")
    members = cast("tuple[tuple[str, object], ...]", members)
    if len(members) > MOST_KEYS:
        raise UnfitError(f"more than {MOST_KEYS} keys")
    if len({name for name, _ in members}) != len(members):
        raise UnfitError("a name comes twice")
    return members


def loaded(key: Key[Any], raw: object) -> object:
    """Return the value that ``raw`` stands for.

    Raises:
        UnfitError: It breaks a rule, or the key's ``load`` will not have it.
    """
    if key.load is None:
        return _checked(raw)
    if type(raw) is not str:
        raise UnfitError("no text to load")
    try:
        value: object = key.load(_checked_text(raw))
    except UnfitError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever somebody else's function raises
        raise UnfitError(f"load() raised {type(error).__name__}") from None
    return _checked_text(value) if isinstance(value, str) else value


def _dumped(key: Key[Any], value: object) -> object:
    """Return what stands for ``value`` in the header, or raise :class:`UnfitError`."""
    if key.dump is None:
        return _checked(value)
    if type(value) is str:
        _checked_text(value)  # as it will be when it was loaded
    try:
        text: Any = key.dump(value)
    except Exception as error:  # noqa: BLE001 - whatever somebody else's function raises
        raise UnfitError(f"dump() raised {type(error).__name__}") from None
    if not issubclass(cast("type[object]", type(text)), str):
        raise UnfitError("dump() returned no str")
    return _checked(text)


def _checked(value: Any) -> object:
    """Return a scalar that JSON knows, and that keeps to the limits."""
    kind = cast("type[object]", type(value))  # not __class__, which a proxy makes up
    if issubclass(kind, str):
        return _checked_text(str.__str__(value))
    if issubclass(kind, int):
        if int.bit_length(value) > WIDEST_NUMBER:
            raise UnfitError(f"a number of more than {WIDEST_NUMBER} bits")
    elif issubclass(kind, float):
        if not isfinite(value):
            raise UnfitError("not a finite number")
    elif value is not None:
        raise UnfitError("neither str, int, float, bool nor None: its key needs dump= and load=")
    return value


def _checked_text(text: str) -> str:
    if len(text) > LONGEST_VALUE:
        raise UnfitError(f"longer than {LONGEST_VALUE} characters")
    if _unsafe(text):
        raise UnfitError("control characters in it")
    return text


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_encode = JSONEncoder(allow_nan=False).encode
# Objects as tuples of pairs: dicts would hide a name that comes twice.
_decode: Any = JSONDecoder(object_pairs_hook=tuple, parse_constant=_refused).decode
