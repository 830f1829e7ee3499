"""How a caller waits for passes that other threads carry out."""

from __future__ import annotations

import threading


class Latch:
    """Open once, when as many passes are over as were counted.

    Args:
        count: How many passes to wait for; at least one.
    """

    __slots__ = ("_gate", "_left", "_lock")

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        # A bare lock, not an Event: that would allocate a condition for each flush.
        self._gate = threading.Lock()
        self._gate.acquire()

    def arrive(self) -> None:
        """Count one pass as over. Called by the thread that carried it out."""
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._open()

    def wait(self, timeout: float) -> None:
        """Block until all passes are over, or for ``timeout`` seconds."""
        if timeout > 0:
            self._gate.acquire(timeout=min(timeout, threading.TIMEOUT_MAX))

    def _open(self) -> None:
        self._gate.release()
