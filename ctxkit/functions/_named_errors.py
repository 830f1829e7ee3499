"""Classes of errors that a configuration names: compared when an error is there, never imported."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from ctxkit.functions._reading import loaded

if TYPE_CHECKING:
    from ctxkit.functions._reading import Place

_FIX = 'Write "ConnectionError" for one of Python\'s own, "package.module:Error" for another.'


class NamedErrors:
    """Answer whether an error is one of those named, or derives from one.

    An error can only be raised by code that is imported: what is not in :data:`sys.modules` by
    then is not what was raised.

    Args:
        names: As :func:`read_errors` lets them pass.
    """

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names: tuple[str, ...] = names

    def __call__(self, error: Exception) -> bool:
        return any(isinstance(error, found) for name in self.names if (found := _class(name)))

    def __eq__(self, other: object) -> bool:
        return self.names == other.names if isinstance(other, NamedErrors) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"NamedErrors({self.names!r})"


def read_errors(place: Place, value: object) -> NamedErrors:
    """Return what answers for the errors that ``value`` names: one, or a list of them.

    Raises:
        ConfigurationError: It names none, or one that is known not to be there.
    """
    names = cast("list[object]", value if isinstance(value, (list, tuple)) else [value])
    if not names:
        raise place.refuse("must name an error, but is empty", _FIX)
    for name in names:
        if not isinstance(name, str) or not all(_parts(name)):
            raise place.refuse(f"must be names of errors, not {name!r}", _FIX)
        if _is_imported(_parts(name)[0]) and _class(name) is None:
            raise place.refuse(f"names {name!r}, which is no class of errors", _FIX)
    return NamedErrors(tuple(cast("list[str]", names)))


def _parts(name: str) -> tuple[str, str]:
    module, colon, rest = name.partition(":")
    return (module, rest) if colon else ("builtins", name)


def _is_imported(module: str) -> bool:
    """Return whether a module has all of its names: one that declares a function may not yet."""
    found = sys.modules.get(module)
    spec = getattr(found, "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _class(name: str) -> type[Exception] | None:
    found = loaded(*_parts(name))
    return found if isinstance(found, type) and issubclass(found, Exception) else None
