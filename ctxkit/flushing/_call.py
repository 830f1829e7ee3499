"""One caller's flush: which sinks are due, how long it waits for each, what came of it."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, final

from ctxkit.flushing.breaker import PROBE_WAIT
from ctxkit.flushing.report import SinkResult, SinkStatus
from ctxkit.flushing.spooling.switch import write_ahead

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing._lane import Lane
    from ctxkit.flushing._latch import Latch
    from ctxkit.flushing._pass import Pass

    L = TypeVar("L", bound=Latch)

# What is on its way then may never arrive: whoever waited goes on, and may be stopped.
_UNCERTAIN = {
    SinkStatus.BREAKER,
    SinkStatus.IN_FLIGHT,
    SinkStatus.SKIPPED_DEADLINE,
    SinkStatus.TIMEOUT,
}


@final
class Share:
    """What one sink has to do for a call.

    Attributes:
        allowance: The seconds that are waited for it; None if it is not to be tried.
        due: The pass that does it.
        lane: The lane of the sink.
        latch: Who waits for it; None if nobody does.
        pending: How many items waited when the call began.
    """

    __slots__ = ("allowance", "due", "lane", "latch", "pending")

    def __init__(self, lane: Lane, pending: int | None, allowance: float | None) -> None:
        self.lane = lane
        self.pending = pending
        self.allowance = allowance
        self.due: Pass | None = None
        self.latch: Latch | None = None

    def leave(self) -> None:
        """Wait no more."""
        if self.due is not None and self.latch is not None:
            self.lane.leave(self.due, self.latch)


@final
class Call:
    """One flush.

    Args:
        lanes: The lanes of all sinks there are.
        started: When it began, on the monotonic clock.
        timeout: The seconds it has. Below zero: the host has left none.
        last: Whether there will be no other occasion.
        inside: Whether the caller is a flush itself, which would wait for itself.
    """

    __slots__ = ("_inside", "_lanes", "_late", "_shares", "budget", "started")

    def __init__(
        self,
        lanes: tuple[Lane, ...],
        started: float,
        timeout: float,
        *,
        last: bool,
        inside: bool,
    ) -> None:
        self.started: float = started
        self.budget: float = max(0.0, timeout)
        self._inside = inside
        self._late = timeout < 0
        self._lanes = lanes
        self._shares: dict[Lane, Share] = {}
        for lane in () if inside else lanes:
            pending = lane.pending()
            if pending != 0 or lane.stirred:
                allowance = lane.allowance(self.budget, last=last)
                self._shares[lane] = Share(lane, pending, allowance)

    def begin(self, new_latch: Callable[[int], L]) -> list[tuple[L, float]]:
        """Set every due sink to work.

        Returns:
            What to wait at, and until when: one latch for all sinks that have equally long.
        """
        shares = self._shares.values()
        waiting = Counter(share.allowance for share in shares if share.allowance)
        latches = {allowance: new_latch(count) for allowance, count in waiting.items()}
        for share in shares:
            if share.allowance is not None:
                share.latch = latches.get(share.allowance)
                timeout = self.budget if share.allowance else 0.0
                share.due = share.lane.join(
                    share.latch, share.allowance, share.pending, timeout=timeout
                )
        return [(latch, self.started + (allowance or 0)) for allowance, latch in latches.items()]

    def results(self) -> tuple[SinkResult, ...]:
        """Return what is known at this moment, and wait no more."""
        now = monotonic()
        shares = self._shares
        return tuple(
            self._result(shares[lane], now) if lane in shares else self._empty(lane)
            for lane in self._lanes
        )

    def abandon(self) -> None:
        """Wait for nothing any more, and let nobody keep a latch."""
        waited = monotonic() - self.started
        for share in self._shares.values():
            share.leave()
            # A server that gives up before its flushes do must not wait for a dead sink for ever.
            if share.due is not None and share.allowance and waited >= PROBE_WAIT:
                share.lane.overrun(share.due, min(waited, share.allowance))

    def _empty(self, lane: Lane) -> SinkResult:
        if not self._inside:
            lane.tally.count(lane.empty)
        return lane.empty

    def _result(self, share: Share, now: float) -> SinkResult:
        due, lane = share.due, share.lane
        outcome = None if due is None else due.outcome
        if due is not None and outcome is not None:
            status, detail = outcome
            seconds = max(0.0, due.finished - self.started)
        else:
            share.leave()
            status, detail = self._unfinished(share)
            # Other sinks may have been waited for longer.
            seconds = min(now - self.started, share.allowance or 0.0)
            if due is not None and status is SinkStatus.TIMEOUT:
                lane.overrun(due, share.allowance or 0.0)
        if status in _UNCERTAIN and (self.budget > 0 or self._late):
            write_ahead(lane.sink)
        result = SinkResult(lane.sink.name, status, seconds, share.pending, detail)
        lane.tally.count(result)
        return result

    def _unfinished(self, share: Share) -> tuple[SinkStatus, str]:
        """Return what to call it that a sink is not done."""
        allowance, breaker = share.allowance, share.lane.breaker
        if allowance is None:
            return SinkStatus.BREAKER, (
                f"failed {breaker.failures} times in a row; "
                f"is tried again in {breaker.remaining():.0f} s"
            )
        if self._late:
            return SinkStatus.SKIPPED_DEADLINE, "begun, and not waited for: the host's time is over"
        if self.budget == 0:
            return SinkStatus.IN_FLIGHT, "begun, and not waited for"
        if allowance == 0:
            return SinkStatus.IN_FLIGHT, "an earlier one is not over, and not waited for again"
        detail = f"not done within {allowance:g} s; it goes on in the background"
        return SinkStatus.TIMEOUT, detail
