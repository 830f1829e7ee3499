"""Header fields, whoever keeps them: a mapping, a WSGI environ, a list of pairs. Private."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, MutableMapping


def fields_of(carrier: object, names: Collection[str]) -> Iterable[object]:
    """Return pairs of a name and a value, among which those with these names are to be found.

    Raises:
        ConfigurationError: ``carrier`` is nothing that holds headers.
    """
    if isinstance(carrier, Mapping):
        mapping = cast("Mapping[object, object]", carrier)
        if "REQUEST_METHOD" not in mapping:
            return mapping.items()
        # A WSGI environ: what has no prefix there is a variable of the server's process.
        variables = ((name, "HTTP_" + name.upper().replace("-", "_")) for name in names)
        return [(name, mapping[variable]) for name, variable in variables if variable in mapping]
    if isinstance(carrier, Iterable) and not isinstance(carrier, (str, bytes, bytearray)):
        return cast("Iterable[object]", carrier)
    raise ConfigurationError(
        "extract(carrier)",
        f"must hold headers, not be of type {type(carrier).__name__}",
        "Give it a mapping of names to values, a WSGI environ, or a list of pairs.",
    )


def texts_of(fields: Iterable[object], names: Collection[str]) -> dict[str, list[str | None]]:
    """Return every value under these names, in lower case; None for what is no text."""
    found: dict[str, list[str | None]] = {}
    for field in fields:
        try:
            name, value = cast("Iterable[object]", field)
        except (TypeError, ValueError):
            continue
        name = _text(name)
        if name is not None and (name := name.lower()) in names:
            several = isinstance(value, (list, tuple))
            values = cast("Iterable[object]", value if several else (value,))
            found.setdefault(name, []).extend(map(_text, values))
    return found


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


class Fields:
    """Look at the header fields of a carrier, whatever the case of their names, and set some.

    Args:
        carrier: What is written into.

    Raises:
        ConfigurationError: It is no mutable mapping.
    """

    def __init__(self, carrier: MutableMapping[str, Any]) -> None:
        self._carrier = carrier
        self._spellings: dict[str, list[str]] = {}
        for name in carrier:
            if type(name) is str:
                self._spellings.setdefault(name.lower(), []).append(name)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._spellings

    def get(self, name: str) -> Any:
        """Return the value under ``name``, the first if there are several; else None."""
        spellings = self._spellings.get(name)
        return self._carrier[spellings[0]] if spellings else None

    def put(self, name: str, value: str) -> None:
        """Let ``value`` be the only one under ``name``; with "", let there be none."""
        for spelling in self._spellings.pop(name.lower(), ()):
            self._carrier.pop(spelling, None)
        if value:
            self._carrier[name] = value
            self._spellings[name.lower()] = [name]
