"""Which keys make which hop. Private.

A value is filed under its name, and so is what its :class:`~ctxkit.Key` declares about hops:
whoever carries a frame looks names up here. Keys that declare nothing are not here, so that a
process without declarations pays one look at an empty dict for each hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ctxkit.context.key import Key

Hop = Literal["thread", "process", "wire", "log"]

HOPS: Final[frozenset[Hop]] = frozenset({"thread", "process", "wire", "log"})
#: What a key does that declares nothing.
USUAL: Final[frozenset[Hop]] = frozenset({"thread"})

#: Every key that declares something, by its name.
_declared: dict[str, Key[Any]] = {}
#: Those of which a hop to another thread, or a task, is more than handing on the value.
HELD_UP: dict[str, Key[Any]] = {}


def declare(key: Key[Any]) -> None:
    """File what ``key`` declares.

    Raises:
        ConfigurationError: Another key of that name declares something else.
    """
    if key.hops == USUAL and key.copy is key.dump is key.load is None:
        return
    known = _declared.setdefault(key.name, key)
    if _terms(known) != _terms(key):
        raise ConfigurationError(
            f"Key({key.name!r})",
            f"declares other hops, copy, dump or load than the key of that name in {known.module}",
            "Declare a name once and import the key, or choose another name.",
        )
    # The later one: a module that is executed again has new functions.
    _declared[key.name] = key
    if key.copy is not None or "thread" not in key.hops:
        HELD_UP[key.name] = key


def making(hop: Hop) -> Iterator[Key[Any]]:
    """Yield the keys that declare ``hop``."""
    return (key for key in [*_declared.values()] if hop in key.hops)


def declared(name: str) -> Key[Any] | None:
    """Return the key that declares something about ``name``."""
    return _declared.get(name)


def checked_hops(name: str, hops: object) -> frozenset[Hop]:
    """Return ``hops`` as a set, or say what is wrong with them.

    Raises:
        ConfigurationError: One of them is unknown, or they are no collection.
    """
    if isinstance(hops, (frozenset, set, list, tuple)):
        wanted = [*cast("Iterable[Any]", hops)]
        if all(isinstance(hop, str) and hop in HOPS for hop in wanted):
            return frozenset(wanted)
    raise ConfigurationError(
        f"Key({name!r}, hops=)",
        f"must be a set out of {', '.join(sorted(HOPS))}, not {hops!r}",
        'Write it like hops={"thread", "log"}.',
    )


def _terms(key: Key[Any]) -> tuple[object, ...]:
    return (key.hops, *(_name(f) for f in (key.copy, key.dump, key.load)))


def _name(f: object) -> object:
    f = getattr(f, "func", f)  # of a partial, which is another one when it is made again
    return getattr(f, "__qualname__", f)
