"""The gate: so many at a time, and the others in the order in which they came."""

from __future__ import annotations

import os
from contextvars import Context
from time import monotonic
from typing import TYPE_CHECKING, Final, final
from weakref import WeakSet

from ctxkit.context import Deadline
from ctxkit.context.lifetime import Wakeup, checkpoint
from ctxkit.functions.pools._ledger import Ledger
from ctxkit.functions.pools._slots import Slot, held_slot
from ctxkit.functions.pools._waiters import TaskWaiter, ThreadWaiter, Waiter
from ctxkit.lifecycle._survivors import running_loop

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from ctxkit.functions.pools._controller import Controller


@final
class Gate(Ledger):
    """Let so many callers in at a time, from any thread and any event loop.

    Safety:
        No thread and no timer, and nothing is done while nobody comes or goes: a process may
        be frozen at any moment. After a fork the child begins with nobody in.
    """

    __slots__ = ("__weakref__",)

    def __init__(
        self, name: str, limit: int, buffer: int | None, controller: Controller | None = None
    ) -> None:
        super().__init__(name, limit, buffer, controller)
        _GATES.add(self)

    def acquire(self, deadline: Deadline | None = None) -> Slot:
        """Return a slot, as soon as there is one.

        Args:
            deadline: When to give up; None for never.

        Raises:
            PoolFull: There is no room to wait; or this is the thread of a running event loop,
                which must not be blocked.
            PoolClosed: It was closed.
            DeadlineExceeded: The deadline was reached.
            Cancelled: The caller's caller does not wait for it any more.
        """
        slot = self.free()
        if slot is not None:
            return slot
        waiter = ThreadWaiter()
        begun = monotonic()
        try:
            slot = self.join(waiter, held_slot(self), patient=running_loop() is None)
            if slot is not None:
                return slot
            with Wakeup(waiter.wake):
                while waiter.slot is None and not (deadline and deadline.passed()):
                    checkpoint()
                    waiter.wait(None if deadline is None else deadline.remaining())
            return self._taken(waiter, begun, deadline)
        except BaseException:
            self.give_up(waiter)
            raise

    async def aacquire(self, deadline: Deadline | None = None) -> Slot:
        """Do what :meth:`acquire` does, without blocking the loop."""
        slot = self.free()
        if slot is not None:
            return slot
        loop = running_loop()
        if loop is None:
            raise RuntimeError("A pool is awaited on the event loops of asyncio.")
        waiter = TaskWaiter(loop)
        timer: TimerHandle | None = None
        begun = monotonic()
        try:
            slot = self.join(waiter, held_slot(self))
            if slot is not None:
                return slot
            if deadline is not None:
                # In an empty context, or the loop would hold ours until the deadline.
                seconds = deadline.remaining()
                timer = loop.call_later(seconds, waiter.resolve, context=Context())
            await waiter.future
            return self._taken(waiter, begun, deadline)
        except BaseException:
            self.give_up(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _taken(self, waiter: Waiter, begun: float, deadline: Deadline | None) -> Slot:
        with self.lock:
            if waiter.slot is None:
                # Without a deadline nobody but a slot wakes it.
                raise (deadline or Deadline.after(0.0)).exceeded()
            waiter.slot.waited = monotonic() - begun
            return waiter.slot


#: All gates of the process.
_GATES: Final[WeakSet[Gate]] = WeakSet()


def _restart_all() -> None:
    for gate in _GATES:
        gate.restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all)
