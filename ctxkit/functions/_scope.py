"""Scopes: what a call may be used for, whoever makes it. Private."""

from __future__ import annotations

from typing import Final, final

from ctxkit.exceptions import ConfigurationError

#: Behind a scope on a wire comes this. It is in no pattern.
BAR: Final = "|"


@final
class Scope:
    """Say which permissions may be used, whoever has them. Immutable.

    ::

        from ctxkit.functions.security import Scope

        scope = Scope("shop.view_order", "stock.*")
        assert "stock.reserve" in scope
        assert "shop.delete_order" not in scope

    A scope gives nothing: what is asked for has to be in the scope, and the actor has to have
    it. Scopes only narrow: ``outer & inner`` holds what both of them hold, and nothing else.

    Args:
        patterns: Names of permissions; a ``*`` at the end stands for any rest, so that
            ``"*"`` is everything. Without any, the scope holds nothing.

    Raises:
        ConfigurationError: One of them is no such name.

    Attributes:
        patterns: The patterns, without those that others cover.
    """

    __slots__ = ("patterns",)

    patterns: frozenset[str]

    def __init__(self, *patterns: str) -> None:
        self.patterns = _least({_checked_pattern(pattern) for pattern in patterns})

    def __contains__(self, permission: str) -> bool:
        return any(_covers(pattern, permission) for pattern in self.patterns)

    def __and__(self, other: Scope) -> Scope:
        if other is EVERYTHING or self.patterns == other.patterns:
            return self
        if self is EVERYTHING:
            return other
        # The star is at the end, so of two patterns one holds the other, or they have
        # nothing in common: what both hold can be written down exactly.
        both = {a for a in self.patterns if any(_covers(b, a) for b in other.patterns)}
        both |= {b for b in other.patterns if any(_covers(a, b) for a in self.patterns)}
        met = object.__new__(Scope)
        met.patterns = _least(both)
        return met

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scope) and other.patterns == self.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __str__(self) -> str:
        return " ".join(sorted(self.patterns))

    def __repr__(self) -> str:
        return f"Scope({', '.join(map(repr, sorted(self.patterns)))})"


def checked_scope(setting: str, value: object) -> Scope:
    """Return ``value`` if it is a scope.

    Raises:
        ConfigurationError: It is none.
    """
    if isinstance(value, Scope):
        return value
    raise ConfigurationError(
        setting,
        f"must be a Scope, not of type {type(value).__name__}",
        'Write it like Scope("shop.view_order", "stock.*").',
    )


def checked_permission(name: object) -> str:
    """Return ``name`` if it can name a permission.

    Raises:
        ConfigurationError: It cannot.
    """
    if isinstance(name, str) and _is_plain(name):
        return name
    raise ConfigurationError(
        "permission()",
        f"got {name!r}",
        'Name one permission, without spaces, "*" and "|", like "shop.view_order".',
    )


def _checked_pattern(pattern: object) -> str:
    if isinstance(pattern, str) and (pattern == "*" or _is_plain(pattern.removesuffix("*"))):
        return pattern
    raise ConfigurationError(
        "Scope()",
        f"got {pattern!r}",
        'Name permissions, with a "*" at most at the end: Scope("shop.view_order", "stock.*").',
    )


def _is_plain(name: str) -> bool:
    return bool(name) and name.isprintable() and not {" ", "*", BAR} & {*name}


def _covers(pattern: str, name: str) -> bool:
    """Return whether ``pattern`` holds ``name``, which may be a pattern itself."""
    return name.startswith(pattern[:-1]) if pattern[-1] == "*" else name == pattern


def _least(patterns: set[str]) -> frozenset[str]:
    return frozenset(
        each
        for each in patterns
        if not any(other != each and _covers(other, each) for other in patterns)
    )


#: What holds everything: the scope of whoever was given none.
EVERYTHING: Final = Scope("*")
