"""Telling from inside that the process stood still. Private."""

from __future__ import annotations

import threading
import time
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two ticks.
PERIOD: Final = 0.1
#: Seconds that a tick may be late on a machine that is merely busy.
PATIENCE: Final = 0.25
#: Seconds that the wall clock may run ahead of the monotonic one, or be set forward.
DRIFT: Final = 1.0


class Clocks(NamedTuple):
    """Hold the clocks of a process, in seconds.

    Attributes:
        monotonic: Never goes back. Goes on while the process is stopped, but not through
            every pause of a virtual machine.
        wall: Goes on through everything, and may be set.
        cpu: What the process has used of its processors.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    cpu: Callable[[], float]


CLOCKS: Final = Clocks(time.monotonic, time.time, time.process_time)


@final
class Sentinel:
    """Notice that the process stood still: stopped, frozen, throttled or paused.

    A thread ticks ten times a second. When a tick is overdue, somebody kept the process from
    ticking; if it was the process itself, its processor time says so. A request that begins
    compares one clock with :attr:`due` and needs no word with the thread: whichever of the
    two runs first after a standstill notices it.

    A pause of a virtual machine may leave out the monotonic clock; then the wall clock runs
    ahead of it.

    Args:
        clocks: The clocks to go by.

    Safety:
        Thread-safe. A forked child makes a new one.

    Attributes:
        due: The wall clock time after which a request has to call :meth:`settle`.
        watching: Whether somebody ticks.
    """

    __slots__ = ("_called", "_clocks", "_gap", "_lock", "_seen", "due", "watching")

    def __init__(self, clocks: Clocks = CLOCKS) -> None:
        self._clocks = clocks
        self._lock = threading.Lock()
        self._gap = 0.0
        self._called = True
        self._seen = (0.0, 0.0, 0.0)
        self.watching = False
        self.due = -inf

    def watch(self, *, thread: bool = True) -> None:
        """Begin to watch, with a daemon thread that ticks unless somebody else does."""
        with self._lock:
            if self.watching:
                return
            self.watching = True
            self._seen = self._now()
        if thread:
            # Explicitly empty: free-threaded builds let a thread inherit its starter's context.
            ticker = threading.Thread(
                target=Context().run, args=(self._work,), name="ctxkit.sentinel", daemon=True
            )
            try:
                ticker.start()
            except RuntimeError:  # no more threads: then nobody is told of freezes
                self.stop()

    def stop(self) -> None:
        """Watch no more."""
        self.watching = False

    def call(self) -> None:
        """Have the next request call :meth:`settle`, or that after the next tick.

        Without the lock: a signal may have interrupted who holds it.
        """
        self._called = True
        self.due = -inf

    def settle(self) -> float:
        """Return the seconds stood still since this was last called, and be quiet until more.

        The request after one that heard of a standstill is called too, to hear of none.
        """
        with self._lock:
            self._look()
            gap, self._gap = self._gap, 0.0
            self._called = gap > 0
            self._arm()
        return gap

    def tick(self) -> None:
        """Note that the process runs."""
        with self._lock:
            self._look()
            self._arm()

    def _work(self) -> None:
        # gevent's, if it has patched: time.sleep would block every greenlet.
        bell = threading.Event()
        while self.watching:
            bell.wait(PERIOD)
            self.tick()

    def _now(self) -> tuple[float, float, float]:
        clocks = self._clocks
        return clocks.monotonic(), clocks.wall(), clocks.cpu()

    def _look(self) -> None:
        if not self.watching:
            return
        now = self._now()
        elapsed, on_the_wall, busy = (
            after - before for after, before in zip(now, self._seen, strict=True)
        )
        self._seen = now
        late = elapsed - PERIOD - max(0.0, busy)
        ahead = on_the_wall - elapsed
        gap = max(late if late > PATIENCE else 0.0, 0.0) + (ahead if ahead > DRIFT else 0.0)
        self._gap += gap

    def _arm(self) -> None:
        if self._called or self._gap:
            self.due = -inf
        else:
            self.due = self._seen[1] + PERIOD + PATIENCE if self.watching else inf
