"""Which responses are held: the count of requests in flight, for hosts that share the CPU."""

from __future__ import annotations

import os
import threading


class InFlight:
    """Count the requests of this process that are between their first and last byte.

    Cloud Run and its kin give a container CPU for as long as one request is in flight, so
    only the response that takes the number to zero has to wait for the flush: the flush
    covers what all the others recorded.

    Safety:
        Thread-safe. A forked child starts from zero: the requests stayed with the parent.

    Attributes:
        prepared: Whether this process was made ready for its first request.
        pushing: Whether it was made ready to push what requests record while they run.
    """

    __slots__ = ("_count", "_lock", "prepared", "pushing")

    def __init__(self) -> None:
        self.restart()

    def enter(self) -> None:
        """Count one more request."""
        with self._lock:
            self._count += 1

    def leave(self) -> bool:
        """Count one request less; return whether it was the last."""
        with self._lock:
            self._count -= 1
            return self._count == 0

    def restart(self) -> None:
        """Forget the parent's requests, and its lock, which another thread may have held."""
        # Reentrant: the garbage collector may drop a response on the thread that holds it.
        self._lock = threading.RLock()
        self._count = 0
        self.prepared: bool = False
        self.pushing: bool = False


#: The requests of this process, through whichever boundary they came.
IN_FLIGHT = InFlight()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=IN_FLIGHT.restart)
