"""The sinks that are found by themselves, when their SDK is loaded and initialised."""

from __future__ import annotations

import sys
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctxkit.flushing.sinks import opentelemetry, sentry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.protocol import Sink

#: What the sinks of :func:`discover` are called.
FOUND_NAMES: Final = (
    sentry.NAME,
    opentelemetry.TRACES,
    opentelemetry.METRICS,
    opentelemetry.LOGS,
)


def discover() -> tuple[Sink, ...]:
    """Return the sinks of every SDK that is loaded and initialised at this moment.

    Cheap enough for each flush: SDKs may be set up late, or anew.
    """
    found = opentelemetry.find()
    client = sentry.find()
    if client is not None:
        found.append(client)
    return tuple(found)


class Evidence(NamedTuple):
    """Tell what :func:`discover` went by; as long as it holds, that finds the same.

    Attributes:
        found: How to look at something, at what, and what was seen.
        absent: The modules that were not loaded.
    """

    found: tuple[tuple[Callable[[Any], Any], Any, Any], ...]
    absent: tuple[str, ...]

    def holds(self) -> bool:
        """Whether nothing has changed; quick, for the end of every request."""
        try:
            for look, owner, value in self.found:
                if look(owner) is not value:
                    return False
        except AttributeError:
            return False
        return not self.absent or sys.modules.keys().isdisjoint(self.absent)


def evidence() -> Evidence:
    """Return what :func:`discover` goes by at this moment. Ask before it, not after."""
    found: list[tuple[Callable[[Any], Any], Any, Any]] = []
    absent: list[str] = []
    for module_name, *path in (*opentelemetry.PATHS, sentry.PATH):
        owner: Any = sys.modules.get(module_name)
        if owner is None:
            absent.append(module_name)
            continue
        for name in path:
            look = attrgetter(name)
            try:
                value = look(owner)
            except AttributeError:
                value = None
            found.append((look, owner, value))
            owner = value
    return Evidence(tuple(found), tuple(absent))
