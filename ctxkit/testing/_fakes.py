"""Stand-ins for unit tests: a sink that keeps everything in memory, and a clock."""

from __future__ import annotations

import math
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing import SinkOutcome, SinkStatus

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from ctxkit.flushing import Sink

_LIMIT = 30.0  # seconds that a flush waits at a gate which a test forgot to open


@final
class MemorySink:
    """Keep what is recorded, and end each flush as it was told.

    For tests of what records, and of what reads reports::

        sink = MemorySink(outcomes=[False, TimeoutError("no answer")])
        add_sink(sink)
        sink.record("order 7")
        flush()  # fails, and the next one too; from then on they succeed

    Args:
        name: What reports call the sink.
        outcomes: How the next flushes end, in this order: what :meth:`ctxkit.Sink.flush`
            may return, a :class:`ctxkit.flushing.SinkStatus`, or an exception to raise.
            After them, every flush succeeds.

    Attributes:
        outcomes: As above, a deque; may be changed at any time.
        landed: What flushes that succeeded have taken, in order.
        lost: What flushes that failed have taken.
        timeouts: The timeout of each flush so far.

    Safety: every method may be called from any thread.
    """

    def __init__(self, name: str = "memory", *, outcomes: Iterable[Any] = ()) -> None:
        self.name = name
        self.outcomes: deque[Any] = deque(outcomes)
        self.landed: list[object] = []
        self.lost: list[object] = []
        self.timeouts: list[float] = []
        self._begin()

    def _begin(self) -> None:
        self._waiting: list[object] = []
        self._taken = 0
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._entered = threading.Event()

    def record(self, item: object) -> None:
        """Take an item, to be flushed."""
        with self._lock:
            self._waiting.append(item)

    def pending(self) -> int:
        """Count what was recorded and not flushed, what is being flushed included."""
        with self._lock:
            return len(self._waiting) + self._taken

    def flush(self, timeout: float) -> SinkOutcome | bool | None:
        """Take what was recorded, and end as told."""
        with self._lock:
            self.timeouts.append(timeout)
            taken, self._waiting = self._waiting, []
            self._taken += len(taken)
            outcome: Any = self.outcomes.popleft() if self.outcomes else True
        self._entered.set()
        self._open.wait(_LIMIT)
        good = outcome is None or outcome is True or _status(outcome) in _GOOD
        with self._lock:
            (self.landed if good else self.lost).extend(taken)
            self._taken -= len(taken)
        if isinstance(outcome, BaseException):
            raise outcome
        return SinkOutcome(outcome) if isinstance(outcome, SinkStatus) else outcome

    def after_fork(self) -> None:
        """Leave to the parent what is the parent's."""
        self.landed, self.lost, self.timeouts = [], [], []
        self._begin()

    @contextmanager
    def held(self) -> Generator[None]:
        """Let no flush end within the with-block, as if the destination hung."""
        self._entered.clear()
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def wait_until_flushed(self, timeout: float = 5.0) -> None:
        """Block until a flush has begun since :meth:`held` was entered, or ever.

        Raises:
            TimeoutError: None did in time.
        """
        if not self._entered.wait(timeout):
            raise TimeoutError(f"nobody flushed {self.name!r} within {timeout} s")


_GOOD = {SinkStatus.OK, SinkStatus.EMPTY, SinkStatus.UNVERIFIED}


def _status(outcome: Any) -> object:
    return outcome.status if isinstance(outcome, SinkOutcome) else outcome


@final
class FakeClock:
    """Tell the time that a test wants it to be.

    Calling it reads the monotonic clock, so it may be given to whatever takes a
    ``Callable[[], float]``::

        clock = FakeClock()
        clock.advance(30)
        assert clock() == 30
        clock.freeze(3600, monotonic=False)
        assert (clock(), clock.time() - clock.born) == (30, 3630)

    Args:
        now: What the monotonic clock shows at first, in seconds.
        wall: What the wall clock shows at first, in seconds since the epoch.

    Attributes:
        born: As ``wall``.
    """

    def __init__(self, now: float = 0.0, *, wall: float = 1_700_000_000.0) -> None:
        self.born = wall
        self._now = now
        self._wall = wall

    def __call__(self) -> float:
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic clock, in seconds, as ``time.monotonic`` does."""
        return self._now

    def time(self) -> float:
        """Return the wall clock, in seconds since the epoch, as ``time.time`` does."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let both clocks go on.

        Raises:
            ConfigurationError: ``seconds`` is negative or no finite number.
        """
        self.freeze(seconds, monotonic=True)

    def freeze(self, seconds: float, *, monotonic: bool = True) -> None:
        """Let the time pass for which the process is stopped.

        Args:
            seconds: How long.
            monotonic: Whether the monotonic clock goes on meanwhile: it does for a stopped
                process, and stands still for some paused machines.

        Raises:
            ConfigurationError: ``seconds`` is negative or no finite number.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ConfigurationError("seconds", f"is {seconds!r}", "Clocks go forward: use >= 0.")
        self._wall += seconds
        if monotonic:
            self._now += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock alone, as time synchronisation does, forward or back."""
        self._wall = wall


if TYPE_CHECKING:
    _: Sink = MemorySink()
