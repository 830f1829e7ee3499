"""The sinks that are found by themselves, when their SDK is loaded and initialised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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


def tells(sink: Any) -> bool:
    """Return whether ``STIR`` is told when anything becomes pending in a sink.

    Of sinks that were added nobody knows, and none of them has one of these names.
    """
    return sink.name in FOUND_NAMES and sink.tells is True
