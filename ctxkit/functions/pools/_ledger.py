"""The ledger of a gate: who is in, who waits, and who is next. Private."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from ctxkit.exceptions import DeadlineExceeded, PoolClosed, PoolFull
from ctxkit.functions.pools._slots import HELD, Slot, held_slot

if TYPE_CHECKING:
    from ctxkit.functions.pools._controller import Controller
    from ctxkit.functions.pools._waiters import Waiter

#: The statuses of errors that say that there was too much to do.
_OVERLOADED: Final = (429, 503)
_GONE: Final = object()


class PoolStats(NamedTuple):
    """Tell how a pool is doing. A call that shares its caller's place is not counted.

    Attributes:
        limit: How many may be in at a time; None for any number, which are not counted.
        busy: How many are in.
        waiting: How many wait for a place.
        completed: How many have left.
        rejected: How many found no room to wait.
    """

    limit: int | None
    busy: int
    waiting: int
    completed: int
    rejected: int


#: How a pool without a limit is doing.
UNCOUNTED: Final = PoolStats(None, 0, 0, 0, 0)


class Ledger:
    """Give out places, and hand them on.

    Whoever leaves hands the place to the one that waits the longest, so nobody overtakes. A
    call inside another one that has a place shares that: the place is lent to one call at a
    time, and goes back when both are over.

    Args:
        name: What errors call it.
        limit: How many may be in at a time.
        buffer: How many may wait; None for any number.
        controller: Decides on the limit; None for it stays.

    Safety:
        Nobody is called, and nothing is waited for, with the lock held. It is reentrant, for a
        signal handler or a finalizer may release what it holds while this very thread has it.

    Attributes:
        busy: How many are in.
        closed: Whether nobody is let in any more.
        completed: How many have left.
        limit: How many may be in.
        lock: Held for each change.
        rejected: How many found no room to wait.
        term: Renewed by a fork; slots of an earlier term are nobody's.
        threaded: Whether it has threads, whose jobs may call.
        waiters: Who waits, in their order. There are none while there is a free place.
    """

    __slots__ = (
        "_buffer",
        "_controller",
        "busy",
        "closed",
        "completed",
        "limit",
        "lock",
        "name",
        "rejected",
        "term",
        "threaded",
        "waiters",
    )

    def __init__(
        self, name: str, limit: int, buffer: int | None, controller: Controller | None = None
    ) -> None:
        self.name: str = name
        self.limit: int = limit
        self._buffer = buffer
        self._controller = controller
        self.closed: bool = False
        self.threaded: bool = False
        self.completed: int = 0
        self.rejected: int = 0
        self.restart()

    def restart(self) -> None:
        """Begin with nobody in. In a child, where nobody but the one that forked goes on."""
        self.lock: threading.RLock = threading.RLock()
        self.term: object = object()
        self.busy: int = 0
        self.waiters: OrderedDict[Waiter, object] = OrderedDict()

    def free(self) -> Slot | None:
        """Return a slot if there is one right now."""
        lender = held_slot(self) if self.threaded or HELD.get(None) is not None else None
        with self.lock:
            if lender is not None and not lender.lent and not lender.released:
                lender.lent = True
            elif self.busy < self.limit and not self.closed:
                self.busy += 1
                lender = None
            else:
                return None
            slot = Slot(self, self.term, lender)
            if self._controller is not None:
                slot.begun = monotonic()
            return slot

    def join(
        self, waiter: Waiter, lender: Slot | None = None, *, patient: bool = True
    ) -> Slot | None:
        """Give ``waiter`` a slot, or have it wait for one.

        Args:
            waiter: Who comes.
            lender: The slot that its caller has.
            patient: Whether it can wait.

        Returns:
            The slot; None where it has to wait, and is going to be woken.

        Raises:
            PoolFull: It would have to wait, and cannot.
            PoolClosed: The gate was closed; whoever shares a slot is let in all the same.
        """
        with self.lock:
            if lender is not None and lender.released:
                lender = None
            if lender is not None and not lender.lent:
                lender.lent = True
                return self._grant(waiter, lender)
            if self.closed and lender is None:
                raise PoolClosed(self.name)
            if self.busy < self.limit:
                self.busy += 1
                return self._grant(waiter)
            if not patient or (self._buffer is not None and len(self.waiters) >= self._buffer):
                self.rejected += 1
                raise PoolFull(self.name, len(self.waiters))
            self.waiters[waiter] = None
            if lender is not None:
                waiter.lender = lender
                if lender.borrowers is None:
                    lender.borrowers = OrderedDict()
                lender.borrowers[waiter] = None
            if self.busy < self.limit:  # a finalizer has released one between these lines
                self._admitted()
            return waiter.slot

    def give_up(self, waiter: Waiter) -> None:
        """Take ``waiter`` out of the queue; what it was given meanwhile is given back."""
        with self.lock:
            self._leave(waiter)
            slot = waiter.slot
        if slot is not None:
            self.release(slot, used=False)

    def release(self, slot: Slot, error: BaseException | None = None, *, used: bool = True) -> None:
        """Take a slot back, and hand it on. Only the first time counts.

        Args:
            slot: The slot.
            error: What the work has raised.
            used: Whether there was any work.
        """
        with self.lock:
            if slot.released:
                return
            slot.released = True
            if slot.term is not self.term or slot.lent:
                return  # of the parent process; or the one that has borrowed it takes it over
            woken = self._returned(slot, error, used=used)
        if woken:
            self._wake(woken)

    def has_room(self) -> bool:
        """Return whether somebody who came now would be let in, or could wait."""
        with self.lock:
            buffer = self._buffer
            return self.busy < self.limit or buffer is None or len(self.waiters) < buffer

    def resize(self, limit: int) -> None:
        """Let ``limit`` callers in at a time from now on; whoever is in stays."""
        with self.lock:
            self.limit = limit
            woken = self._admitted()
        self._wake(woken)

    def close(self) -> None:
        """Let nobody in any more but those who wait already."""
        self.closed = True

    def stats(self) -> PoolStats:
        """Return how it is doing."""
        with self.lock:
            return PoolStats(
                self.limit, self.busy, len(self.waiters), self.completed, self.rejected
            )

    # All that follows is called with the lock held, but for the last.

    def _leave(self, waiter: Waiter) -> None:
        self.waiters.pop(waiter, None)
        lender, waiter.lender = waiter.lender, None
        if lender is not None and lender.borrowers is not None:
            lender.borrowers.pop(waiter, None)

    def _grant(self, waiter: Waiter, lender: Slot | None = None) -> Slot:
        waiter.slot = slot = Slot(self, self.term, lender)
        if self._controller is not None:
            slot.begun = monotonic()
        return slot

    def _returned(
        self, slot: Slot, error: BaseException | None, *, used: bool
    ) -> deque[Waiter] | None:
        """Note that a slot is nobody's any more; return who has to be woken."""
        lender = slot.lender
        while lender is not None:
            if not lender.released:
                return self._lent_again(lender)
            lender.lent = False
            # Its own call is over, and has left it to this one, which may have borrowed too.
            slot, lender, used = lender, lender.lender, True
        self.busy -= 1
        self.completed += used
        if used and self._controller is not None:
            now = monotonic()
            self.limit = self._controller.completed(
                now, now - slot.begun, waiting=bool(self.waiters), dropped=_is_overload(error)
            )
        return self._admitted() if self.waiters else None

    # Finalizers and signal handlers may come and go between any two calls below, in this thread.
    # So who is taken out of a queue is taken by one call, and counted before.

    def _lent_again(self, lender: Slot) -> deque[Waiter] | None:
        while lender.borrowers:
            waiter, _ = lender.borrowers.popitem(last=False)
            if self.waiters.pop(waiter, _GONE) is not _GONE:
                waiter.lender = None
                self._grant(waiter, lender)
                return deque((waiter,))
        lender.lent = False
        return None

    def _admitted(self) -> deque[Waiter]:
        woken: deque[Waiter] = deque()
        while self.waiters and self.busy < self.limit:
            self.busy += 1
            try:
                waiter, _ = self.waiters.popitem(last=False)
            except KeyError:
                self.busy -= 1
                break
            self._leave(waiter)
            self._grant(waiter)
            woken.append(waiter)
        return woken

    def _wake(self, woken: deque[Waiter]) -> None:
        while woken:
            waiter = woken.popleft()
            if waiter.wake() or waiter.slot is None:
                continue
            # Nobody is there to take it: the next one. No recursion, there may be many.
            with self.lock:
                if not waiter.slot.released:
                    waiter.slot.released = True
                    woken.extend(self._returned(waiter.slot, None, used=False) or ())


def _is_overload(error: BaseException | None) -> bool:
    if error is None:
        return False
    status: object = getattr(error, "http_status", None)
    return isinstance(error, DeadlineExceeded) or status in _OVERLOADED
