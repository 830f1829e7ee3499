"""What became of all flushes so far, added up sink by sink."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING, NamedTuple, final

from ctxkit.flushing.breaker import Breaker, BreakerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ctxkit.flushing.report import SinkResult, SinkStatus


class SinkCounters(NamedTuple):
    """Tell what became of a sink's flushes since the process began, or was forked.

    Attributes:
        results: How many callers were told which status. Those of a flush that found
            nothing to do anywhere are not counted: that is the fast path of each request.
        passes: How often the sink's own ``flush()`` came back. Callers share passes.
        seconds: How long all callers together waited for the sink, in seconds.
        breaker: Whether the sink is tried right now.
    """

    results: Mapping[SinkStatus, int]
    passes: int
    seconds: float
    breaker: BreakerState


@final
class Tally:
    """Add up what becomes of one sink's flushes.

    Safety:
        Thread-safe, except for :attr:`passes`, which the lane counts within its lock.

    Attributes:
        breaker: The breaker of the lane that the sink has now.
        passes: How often its flush came back.
    """

    __slots__ = ("_lock", "_results", "_seconds", "breaker", "passes")

    def __init__(self) -> None:
        # Reentrant: a signal handler may flush on the very thread that holds it.
        self._lock = RLock()
        self._results: dict[SinkStatus, int] = {}
        self._seconds = 0.0
        self.breaker = Breaker()
        self.passes = 0

    def count(self, result: SinkResult) -> None:
        """Add what a caller was told."""
        with self._lock:
            self._results[result.status] = self._results.get(result.status, 0) + 1
            self._seconds += result.seconds

    def snapshot(self) -> SinkCounters:
        """Return what there is so far."""
        with self._lock:
            return SinkCounters(dict(self._results), self.passes, self._seconds, self.breaker.state)
