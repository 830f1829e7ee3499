"""The sinks that are found by themselves, when their SDK is loaded and initialised."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from ctxkit.flushing.sinks import opentelemetry, sentry

if TYPE_CHECKING:
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
        found: Objects, names of their attributes, and what these were.
        absent: The modules that were not loaded.
    """

    found: tuple[tuple[object, str, object], ...]
    absent: tuple[str, ...]

    def holds(self) -> bool:
        """Whether nothing has changed; quick, for the end of every request."""
        for owner, name, value in self.found:
            if getattr(owner, name, None) is not value:
                return False
        return not self.absent or sys.modules.keys().isdisjoint(self.absent)


def evidence() -> Evidence:
    """Return what :func:`discover` goes by at this moment. Ask before it, not after."""
    found: list[tuple[object, str, object]] = []
    absent: list[str] = []
    for module_name, *path in (*opentelemetry.PATHS, sentry.PATH):
        owner: object = sys.modules.get(module_name)
        if owner is None:
            absent.append(module_name)
            continue
        for name in path:
            value = getattr(owner, name, None)
            found.append((owner, name, value))
            if value is None:
                break
            owner = value
    return Evidence(tuple(found), tuple(absent))
