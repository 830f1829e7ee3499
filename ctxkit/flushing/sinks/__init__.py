"""The sinks that are found by themselves, when their SDK is loaded and initialised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ctxkit.flushing.protocol import Sink

#: What the sinks of :func:`discover` may be called.
FOUND_NAMES: Final = ("sentry", "otel.traces", "otel.metrics", "otel.logs")


def discover() -> tuple[Sink, ...]:
    """Return the sinks of every SDK that is loaded and initialised at this moment."""
    return ()
