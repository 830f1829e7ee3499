"""When a sink that failed is given a rest: a state machine over a clock, nothing else."""

from __future__ import annotations

from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Failures in a row after which nobody tries any more.
THRESHOLD: Final = 2
#: How long nobody tries then, in seconds. The time that a process is frozen counts.
REST: Final = 30.0
#: The longest wait for a sink that has cost callers all of their time since it last did well.
PROBE_WAIT: Final = 0.1


class BreakerState(StrEnum):
    """Say whether a sink is tried."""

    CLOSED = "closed"  #: It is.
    OPEN = "open"  #: It is not: it has failed too often in a row, :data:`THRESHOLD` times.
    HALF_OPEN = "half_open"  #: Its rest is over, and the next caller tries it for all.


@final
class Breaker:
    """Have a dead sink cost one budget, and then nothing until it is probed.

    A failure is a pass that ended in an error, or one that somebody waited for in vain. The
    time that it has cost is taken off the next caller's, down to :data:`PROBE_WAIT`; two
    failures in a row open the breaker for :data:`REST` seconds, in which nobody waits. After
    them one caller probes, waiting no longer than :data:`PROBE_WAIT`, while all others go on
    as before. Any pass that ends well closes the breaker, a late one too.

    Args:
        clock: Tells seconds, and never goes back.
        threshold: How many failures in a row open it.
        rest: How many seconds it stays open.

    Safety:
        Not thread-safe: a lane asks within its lock. A forked child makes new ones.

    Attributes:
        failures: How many there were in a row.
    """

    __slots__ = ("_clock", "_lost", "_rest", "_threshold", "_until", "failures")

    def __init__(
        self,
        clock: Callable[[], float] = monotonic,
        *,
        threshold: int = THRESHOLD,
        rest: float = REST,
    ) -> None:
        self._clock = clock
        self._threshold = threshold
        self._rest = rest
        self.failures: int = 0
        # The seconds that callers have lost since the last success.
        self._lost = 0.0
        # The end of the rest.
        self._until = 0.0

    @property
    def state(self) -> BreakerState:
        """What the next caller finds."""
        if self.failures < self._threshold:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < self._until else BreakerState.HALF_OPEN

    def remaining(self) -> float:
        """Return the seconds of rest that are left."""
        resting = self.failures >= self._threshold
        return max(0.0, self._until - self._clock()) if resting else 0.0

    def allowance(self, budget: float, *, last: bool = False) -> float | None:
        """Return the seconds that a caller may wait; None if it should not even try.

        Who is let through a breaker that was open is the probe, and begins a new rest for
        all others until it is known how that went.

        Args:
            budget: What the caller has, in seconds. Without any it cannot be the probe.
            last: Whether there will be no other occasion, so that no rest helps.
        """
        state = self.state
        if state is BreakerState.CLOSED:
            return max(min(budget, PROBE_WAIT), budget - self._lost)
        if state is BreakerState.OPEN and not last:
            return None
        if budget > 0:
            self._until = self._clock() + self._rest
        return min(budget, PROBE_WAIT)

    def succeed(self) -> bool:
        """Note that a pass ended well; return whether that has closed the breaker."""
        closes = self.failures >= self._threshold
        self.failures = 0
        self._lost = 0.0
        return closes

    def forgo(self) -> None:
        """Note that the probe has told nothing: the next caller is the next one."""
        self._until = self._clock()

    def lose(self, seconds: float) -> None:
        """Note that the last failure has cost a caller so many seconds more."""
        self._lost += seconds

    def fail(self, lost: float = 0.0) -> bool:
        """Note a failure; return whether that has opened the breaker.

        Args:
            lost: The seconds that a caller waited for it in vain.
        """
        opens = self.failures == self._threshold - 1
        self.failures += 1
        self._lost += lost
        if self.failures >= self._threshold:
            self._until = self._clock() + self._rest
        return opens
