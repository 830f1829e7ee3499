"""How many calls an adaptive pool lets in: decided by throughput, from completions alone."""

from __future__ import annotations

from math import exp, inf, log
from random import Random
from typing import Final, final

from ctxkit.functions.pools._evidence import Evidence, Window

#: The least that a window lasts, in seconds, and the fewest calls that end in it: so many, and
#: where somebody always waited, so many for each of the limit.
WINDOW: Final = 0.25
CALLS: Final = 20
CALLS_EACH: Final = 6
#: What is left out after a change of the limit: calls that ended, for each of the limit.
SETTLING_EACH: Final = 1
#: The limit is what holds throughput down if somebody waited at this share of the completions.
SATURATED: Final = 0.9
#: One per cent more calls at a time must buy this many per cent of throughput.
PAY: Final = 0.15
#: By how many deviations it must be clear whether they do, or how near the answer must be known.
SURE: Final = 1.0
CLOSE: Final = 0.1
#: The longest and the shortest step that is tried, logarithms of the factor.
WIDE: Final = log(2)
NARROW: Final = 0.1
#: After so many looks that made nothing clear the step becomes longer again.
LOOKS: Final = 20
#: So many saturated windows pass before a smaller limit is tried.
PATIENCE: Final = 6
#: Where both neighbours are worse, 2, 4, ... windows pass before the next look; so many doublings.
DOUBLINGS: Final = 5
#: After so many windows in a row in which less than this share of the limit was used it falls.
IDLE_WINDOWS: Final = 8
IDLE: Final = 0.5
#: What a dropped call leaves of the limit, in tenths.
DROPPED: Final = 9


@final
class Controller:
    """Find the limit at which more calls at a time no longer pay.

    Args:
        max_size: The highest limit.
        min_size: The lowest.
        initial: Where to begin; 4, or as near as the bounds allow, if None.
        random: What tosses the coins; a generator of its own if None.

    Raises:
        ValueError: The sizes do not hold one another.

    Safety:
        Not thread-safe: a pool calls it within its lock. It has no thread, timer or clock and
        so does nothing by itself; a forked child goes on with what its parent knew, and a
        process that was frozen leaves out the window in which it was.

    Attributes:
        limit: How many calls may run at a time now.
    """

    __slots__ = (
        "_base",
        "_begun",
        "_busy",
        "_calls",
        "_doubting",
        "_dropped",
        "_due",
        "_evidence",
        "_fails",
        "_good",
        "_idle",
        "_looks",
        "_max",
        "_min",
        "_random",
        "_rest",
        "_run",
        "_saturated",
        "_settling",
        "_squares",
        "_step",
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
        self._max, self._min = max_size, min_size
        self._random = random or Random()  # noqa: S311 - coins, no secrets
        self.limit: int = initial
        # Where a probe returns to.
        self._base = initial
        self._evidence = Evidence()
        self._idle = self._saturated = self._settling = 0
        self._doubting = self._dropped = False
        self._look_around()
        self._begun: float | None = None
        self._begin(None)

    def completed(self, now: float, seconds: float, *, waiting: bool, dropped: bool = False) -> int:
        """Note that a call has ended; return the limit from now on.

        Args:
            now: When, by a clock that never goes back, in seconds.
            seconds: How long it ran, its wait for a slot not counted.
            waiting: Whether another call was waiting for a slot.
            dropped: Whether it ended because too much was going on, so it was of no use.
        """
        if self._begun is None:
            self._begun = now - seconds
        self._calls += 1
        self._good += not dropped
        self._waiting += waiting
        self._busy += seconds
        self._squares += seconds * seconds
        if dropped and not self._dropped:
            self._drop(now)
        elif self._settling:
            self._settling -= 1
            if not self._settling:
                self._begin(now)
        elif self._calls >= CALLS and now - self._begun >= WINDOW:
            saturated = self._waiting >= SATURATED * self._calls
            if not saturated or self._calls >= CALLS_EACH * self.limit:
                self._close(now, now - self._begun, saturated=saturated)
        return self.limit

    def _begin(self, now: float | None) -> None:
        self._begun = now
        self._calls = self._good = self._waiting = 0
        self._busy = self._squares = 0.0

    def _close(self, now: float, elapsed: float, *, saturated: bool) -> None:
        before = self.limit
        if saturated:
            self._idle = 0
            self._saturated += 1
            self._learn(self._window(elapsed))
        elif before > self._base:
            self._learn_least(self._window(elapsed))
        else:
            self._spare(elapsed)
        self._dropped = False
        self._settle(now, before)

    def _settle(self, now: float, before: int) -> None:
        """Begin a window, but let go of what began under another limit first."""
        if self.limit != before:
            self._settling = SETTLING_EACH * max(before, self.limit)
        self._begin(now)

    def _window(self, elapsed: float) -> Window:
        calls = self._calls
        mean = self._busy / calls
        spread = max(0.0, self._squares / calls / mean / mean - 1) if mean > 0 else 0.0
        return Window(self.limit, calls, self._good, elapsed, spread)

    def _drop(self, now: float) -> None:
        """Let in a tenth less, at most once in a window."""
        before = self.limit
        self._dropped = True
        self.limit = self._base = max(self._min, min(self._base, before * DROPPED // 10))
        # It was not as good up there as it looked.
        self._evidence.forget(above=self.limit)
        self._pause()
        self._settle(now, before)

    def _spare(self, elapsed: float) -> None:
        """Where nobody waits: never go up; go down by one if little was used for long."""
        self.limit = self._base
        self._saturated = 0
        self._idle = self._idle + 1 if self._busy < IDLE * elapsed * self.limit else 0
        if self._idle == IDLE_WINDOWS:
            self._idle = 0
            self.limit = self._base = max(self._min, self.limit - 1)

    def _learn(self, window: Window) -> None:
        if self._evidence.surprises(window):
            # If only the machine paused, the next window is as ever; else the world is another.
            self._doubting = not self._doubting
            if self._doubting:
                return
            self._evidence.forget()
            self._look_around()
        self._doubting = False
        self._evidence.note(window)
        self._decide()

    def _learn_least(self, window: Window) -> None:
        """Learn from a higher limit at which nobody waits: it yields this much at the least."""
        if self._evidence.raises(window):
            self._learn(window)
        else:
            self._decide()

    def _look_around(self) -> None:
        self._step_by(WIDE)
        self._fails = self._rest = self._run = 0
        self._due: list[int] = []

    def _decide(self) -> None:
        """Go to a neighbour that is better for sure, or see more of one that may be."""
        found = {direction: self._judge(direction) for direction in (1, -1)}
        best = max(found, key=found.__getitem__)
        if found[best] > SURE:
            self._move(best)
        elif self.limit != self._base:
            self.limit = self._base
        elif self._rest:
            self._rest -= 1
        else:
            self._look([direction for direction, better in found.items() if better > -inf])

    def _look(self, unclear: list[int]) -> None:
        """Try a neighbour of which too little is known, or whose turn it is, for a window."""
        if unclear:
            if self._saturated < PATIENCE:
                unclear = [direction for direction in unclear if direction > 0]
            if unclear:
                self._looks += 1
                if self._looks > LOOKS and self._step < WIDE:
                    self._step_by(2 * self._step)
                self.limit = self._neighbour(self._random.choice(unclear))
        elif self._due:
            self.limit = self._neighbour(self._due.pop())
        elif self._step > NARROW:
            self._step_by(self._step / 2)
            self._run = 0
        else:
            self._pause()

    def _judge(self, direction: int) -> float:
        """Return by how many deviations a neighbour is better; minus infinity if it is not."""
        other = self._neighbour(direction)
        if other == self._base:
            return -inf
        gain, deviation = self._evidence.gain(self._base, other)
        if deviation == inf:
            return 0.0
        better = direction * (gain - PAY) / deviation
        close = better <= SURE and SURE * deviation < CLOSE
        return -inf if close or better < -SURE else better

    def _neighbour(self, direction: int) -> int:
        other = round(self._base * exp(direction * self._step))
        if direction > 0:
            return min(self._max, max(other, self._base + 1))
        return max(self._min, min(other, self._base - 1))

    def _move(self, direction: int) -> None:
        self.limit = self._base = self._neighbour(direction)
        self._run = self._run + direction if self._run * direction > 0 else direction
        self._step_by(2 * self._step if abs(self._run) > 1 else self._step)
        self._fails = self._rest = 0
        self._due = []

    def _step_by(self, step: float) -> None:
        self._step = max(NARROW, min(WIDE, step))
        self._looks = 0

    def _pause(self) -> None:
        self._fails = min(DOUBLINGS, self._fails + 1)
        self._rest = round(2**self._fails * self._random.uniform(0.75, 1.25))
        self._due = [1, -1]
        self._random.shuffle(self._due)
