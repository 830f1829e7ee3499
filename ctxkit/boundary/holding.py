"""Which responses are held: the count of requests in flight, for hosts that share the CPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


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

    __slots__ = ("_running", "enter", "prepared", "pushing")

    def __init__(self) -> None:
        self.restart()

    def leave(self) -> bool:
        """Count one request less; return whether it was the last.

        Of requests that leave in the same moment several may be told so, but never none.
        """
        try:
            self._running.pop()
        except IndexError:  # entered in the parent
            return True
        return not self._running

    def restart(self) -> None:
        """Forget the parent's requests."""
        # A list, whose ends are changed in one step: a lock would cost more than all else here.
        self._running: list[object] = []
        #: Count one more request; call it with anything.
        self.enter: Callable[[object], None] = self._running.append
        self.prepared: bool = False
        self.pushing: bool = False


#: The requests of this process, through whichever boundary they came.
IN_FLIGHT = InFlight()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=IN_FLIGHT.restart)
