"""What may be shown of a call in telemetry: values whose keys say so. Private."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxkit.context._hops import making
from ctxkit.context.key import MISSING

if TYPE_CHECKING:
    from ctxkit.boundary.intercepting import Call
    from ctxkit.context import Key

_PLAIN = (str, bool, int, float)


def shown(call: Call) -> dict[str, Any]:
    """Return what spans say of a call: its function, and the values whose keys go to logs.

    A key that declares the hop ``"log"`` says that operators may read its value, wherever they
    read: a log record and a span go to the same people, and bear the same names.
    """
    found: dict[str, Any] = {}
    function = call.function
    if function is not None:
        found["code.function.name"] = f"{function.__module__}.{function.__qualname__}"
    for key in making("log"):
        # A value that cannot be computed is left out: calls must not fail for it.
        with suppress(Exception):
            name = key.name
            held = call.values[name] if name in call.values else call.frame.get(name, MISSING)
            value = _plain(key, held)
            if value is not MISSING:
                found[name] = value
    return found


def _plain(key: Key[Any], value: object) -> Any:
    """Return a value that a span can hold, or MISSING."""
    if isinstance(value, _PLAIN):
        return value
    return MISSING if value is MISSING or key.dump is None else key.dump(value)
