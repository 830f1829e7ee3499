"""How many calls an adaptive pool lets in: decided by throughput, from completions alone."""

from __future__ import annotations

from random import Random
from typing import Final, final

#: One per cent more calls at a time must buy this many per cent of throughput.
PAY: Final = 0.15
#: The least that a window lasts, in seconds, and the fewest completions in it.
WINDOW: Final = 0.25
COMPLETIONS: Final = 20
#: After so many windows in which less than half of the limit was in use it falls by one.
IDLE_WINDOWS: Final = 8


@final
class Controller:
    """Find the limit at which more calls at a time no longer pay.

    A pure object: no clock, no thread, no timer, so it survives a fork and a frozen process.

    Args:
        max_size: The highest limit.
        min_size: The lowest.
        initial: Where to begin; 4, or as near as the bounds allow, if None.
        random: What tosses the coins; a generator of its own if None.

    Safety:
        Not thread-safe: a pool calls it within its lock. Never blocks.

    Attributes:
        limit: How many calls may run at a time now.
    """

    __slots__ = (
        "_base",
        "_begun",
        "_busy",
        "_calls",
        "_count",
        "_dropped",
        "_held",
        "_idle",
        "_max",
        "_min",
        "_random",
        "_settling",
        "_throughput",
        "_waiting",
        "limit",
    )

    def __init__(
        self,
        max_size: int,
        min_size: int = 1,
        initial: int | None = None,
        random: Random | None = None,
    ) -> None:
        if not 1 <= min_size <= max_size:
            raise ValueError(f"min_size must be from 1 to max_size {max_size}, not {min_size}")
        if initial is None:
            initial = max(min_size, min(max_size, 4))
        if not min_size <= initial <= max_size:
            raise ValueError(f"initial must be from {min_size} to {max_size}, not {initial}")
        self._max = max_size
        self._min = min_size
        self._random = random or Random()  # noqa: S311 - coins, no secrets
        self.limit: int = initial
        self._base = initial
        self._throughput = 0.0
        self._held = self._idle = 0
        self._settling = False
        self._begin(None)

    def _begin(self, now: float | None) -> None:
        self._begun = now
        self._calls = self._count = self._waiting = 0
        self._busy = 0.0
        self._dropped = False

    def completed(self, now: float, seconds: float, *, waiting: bool, dropped: bool = False) -> int:
        """Note that a call has ended; return the limit from now on.

        Args:
            now: When, by a clock that never goes back, in seconds.
            seconds: How long it ran, its wait for a slot not counted.
            waiting: Whether another call was waiting for a slot.
            dropped: Whether it ended because there was too much to do.
        """
        if self._begun is None:
            self._begin(now - seconds)
        begun = now if self._begun is None else self._begun
        self._calls += 1
        self._count += not dropped
        self._waiting += waiting
        self._busy += seconds
        if dropped and not self._dropped:
            self._dropped = True
            self.limit = self._base = max(self._min, min(self._base, self.limit * 9 // 10))
            self._held = 0
        elapsed = now - begun
        if elapsed >= WINDOW and self._calls >= max(COMPLETIONS, 4 * self.limit):
            if self._settling:
                self._settling = False
            else:
                self._judge(elapsed)
            self._begin(now)
        return self.limit

    def _judge(self, elapsed: float) -> None:
        throughput = self._count / elapsed
        if self._waiting < 0.9 * self._calls:
            self._base = self.limit
            self._idle = self._idle + 1 if self._busy < 0.5 * elapsed * self.limit else 0
            if self._idle == IDLE_WINDOWS:
                self._idle = 0
                self.limit = self._base = max(self._min, self.limit - 1)
            return
        self._idle = 0
        if self.limit == self._base:
            self._throughput = throughput
            self._held += 1
            up = self._held < 2 or self._random.random() < 0.5
            step = max(1, self._base // 4)
            self.limit = (
                min(self._max, self._base + step) if up else max(self._min, self._base - step)
            )
        else:
            gained = throughput / self._throughput - 1 if self._throughput else 0.0
            if gained >= PAY * (self.limit / self._base - 1):
                if self.limit > self._base:
                    self._held = 0
                self._base = self.limit
            self.limit = self._base
        self._settling = True
