"""What was seen of the throughput at each limit, and what more calls at a time have bought."""

from __future__ import annotations

from math import inf, log, sqrt
from typing import Final, NamedTuple, final

#: What a window leaves of what was known before it.
KEPT: Final = 0.95
#: A window surprises if its throughput is off by more than this share, and so many deviations.
SURPRISE: Final = 0.15
DEVIATIONS: Final = 4.0
#: How much of an estimate of the noise the newest window is.
NEWEST: Final = 0.1
#: What a window is taken to be off by, beyond what its calls explain, as long as nothing is
#: known of the machine, and the least that it ever is; relative.
OFF: Final = 0.05
OFF_LEAST: Final = 0.003
#: What weighs less than so many calls is forgotten.
LEAST: Final = 1.0


class Window(NamedTuple):
    """Count what ended in a stretch of time in which the limit stayed.

    Attributes:
        limit: How many calls could run at a time.
        calls: How many calls ended.
        good: How many of them ended well.
        elapsed: How long it lasted, in seconds.
        spread: The squared coefficient of variation of how long the calls ran.
    """

    limit: int
    calls: int
    good: int
    elapsed: float
    spread: float

    def rate(self) -> float:
        """Return the logarithm of the throughput."""
        return log(max(self.good, 0.5) / self.elapsed)


class _Seen:
    """What is left of the windows at one limit."""

    __slots__ = ("calls", "elapsed", "good", "windows")

    def __init__(self) -> None:
        self.calls = self.good = self.elapsed = self.windows = 0.0

    def rate(self) -> float:
        """Return the logarithm of the throughput."""
        return log(max(self.good, 0.5) / self.elapsed)


@final
class Evidence:
    """Compare limits by all windows that each of them had, the newer ones weighing more.

    How exact a comparison is follows from two kinds of noise: that of the calls' durations,
    which many calls even out, and what windows at one limit differ by beyond that, as other
    processes use the machine, which only many windows do.
    """

    __slots__ = ("_off", "_seen", "_spread")

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        # Squares: the coefficient of variation of a call, and what else a window is off by.
        self._spread = 0.0
        self._off = OFF * OFF

    def surprises(self, window: Window) -> bool:
        """Return whether a window says something else than those before it at its limit."""
        seen = self._seen.get(window.limit)
        if seen is None:
            return False
        off = abs(window.rate() - seen.rate())
        explained = self._spread * (1 / window.calls + 1 / seen.calls)
        windows = 1 + 1 / seen.windows
        usual = explained + self._beyond() * windows
        # One that is far out counts, but not for more than any could be.
        beyond = (min(off * off, 9 * usual) - explained) / windows
        self._off += NEWEST * (beyond - self._off)
        return off > max(SURPRISE, DEVIATIONS * sqrt(usual))

    def raises(self, window: Window) -> bool:
        """Return whether a window yields more than was known of its limit."""
        seen = self._seen.get(window.limit)
        return seen is None or window.rate() > seen.rate()

    def note(self, window: Window) -> None:
        """Add a window."""
        self._spread += (NEWEST if self._spread else 1.0) * (window.spread - self._spread)
        for limit, seen in list(self._seen.items()):
            seen.calls *= KEPT
            seen.good *= KEPT
            seen.elapsed *= KEPT
            seen.windows *= KEPT
            if seen.calls < LEAST:
                del self._seen[limit]
        seen = self._seen.setdefault(window.limit, _Seen())
        seen.calls += window.calls
        seen.good += window.good
        seen.elapsed += window.elapsed
        seen.windows += 1

    def gain(self, limit: int, other: int) -> tuple[float, float]:
        """Return what one per cent more calls at a time buys between two limits.

        Returns:
            Per cents of throughput, and the deviation of that, which is infinite as long as
            one of the two was never seen.
        """
        here, there = self._seen.get(limit), self._seen.get(other)
        if here is None or there is None:
            return 0.0, inf
        width = log(other / limit)
        calls = 1 / here.calls + 1 / there.calls
        windows = 1 / here.windows + 1 / there.windows
        variance = self._spread * calls + self._beyond() * windows
        return (there.rate() - here.rate()) / width, sqrt(variance) / abs(width)

    def forget(self, above: int = 0) -> None:
        """Drop what is known of limits above one, but for how noisy this world is."""
        for limit in [limit for limit in self._seen if limit > above]:
            del self._seen[limit]

    def _beyond(self) -> float:
        return max(self._off, OFF_LEAST * OFF_LEAST)
