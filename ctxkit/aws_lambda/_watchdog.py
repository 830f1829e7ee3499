"""One thread that raises an alarm at a time, if it is not called off."""

from __future__ import annotations

import threading
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from collections.abc import Callable


@final
class Watchdog:
    """Call back at a moment, unless that is called off before.

    There is one alarm: setting another takes its place. The thread sleeps on when an alarm is
    called off and looks again when that would have been due, so that neither costs a switch
    of threads: the function's timeout is the same for each invocation, and what is due next
    is later than what was.

    Safety:
        Any thread may set and call off. The thread is a daemon, and started with the first
        alarm; where none can be started there is no alarm. A forked child has none.
    """

    __slots__ = ("_alarm", "_lock", "_thread", "_wakes", "_wakes_at")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # A bare lock, and not an Event, which would allocate for each wait.
        self._wakes = threading.Lock()
        self._wakes.acquire()
        self._wakes_at: float | None = None  # None: sleeps until it is woken
        self._alarm: tuple[float, Callable[[], object]] | None = None
        self._thread: threading.Thread | None = None

    def set(self, at: float, call: Callable[[], object]) -> None:
        """Have ``call`` called at ``at``, on the clock of :func:`time.monotonic`."""
        with self._lock:
            self._alarm = (at, call)
            sleeps_too_long = self._wakes_at is None or at < self._wakes_at
            if sleeps_too_long:
                self._wakes_at = at
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif sleeps_too_long and self._wakes.locked():
                self._wakes.release()

    def call_off(self) -> None:
        """Have nothing called."""
        self._alarm = None

    def _start(self) -> None:
        target = Context().run
        thread = threading.Thread(
            target=target, args=(self._watch,), name="ctxkit.lambda.watchdog", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, or the process has too many
            return
        self._thread = thread

    def _watch(self) -> None:
        while True:
            with self._lock:
                alarm = self._alarm
                left = None if alarm is None else alarm[0] - monotonic()
                due = left is not None and left <= 0
                if due:
                    self._alarm = None
                else:
                    self._wakes_at = None if alarm is None else alarm[0]
            if due and alarm is not None:
                _raise(alarm[1])
            elif left is None:
                self._wakes.acquire()
            else:
                self._wakes.acquire(timeout=min(left, threading.TIMEOUT_MAX))


def _raise(alarm: Callable[[], object]) -> None:
    try:
        alarm()
    except Exception:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit").exception("ctxkit.lambda.failed")
