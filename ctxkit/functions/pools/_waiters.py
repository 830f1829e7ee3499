"""Who waits at a gate: threads and coroutines; jobs are in a module of their own. Private."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, final

from ctxkit.lifecycle._survivors import running_loop

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ctxkit.functions.pools._slots import Slot


class Waiter:
    """Wait for a slot.

    Attributes:
        slot: What it was given, or None yet. Set within the lock of the gate.
        lender: The slot that its caller has, and would lend to it.
    """

    __slots__ = ("lender", "slot")

    def __init__(self) -> None:
        self.slot: Slot | None = None
        self.lender: Slot | None = None

    def wake(self) -> bool:
        """Tell it that it has a slot; return False where nobody can be told any more.

        Called by any thread, outside of the lock. Must not block.
        """
        raise NotImplementedError


@final
class ThreadWaiter(Waiter):
    """Block a thread until it has a slot."""

    __slots__ = ("_bell",)

    def __init__(self) -> None:
        super().__init__()
        self._bell = threading.Lock()
        self._bell.acquire()

    def wake(self) -> bool:
        """Let the thread go on."""
        with suppress(RuntimeError):  # it was woken before, to find that it is cancelled
            self._bell.release()
        return True

    def wait(self, seconds: float | None) -> None:
        """Block until woken, or for so many seconds."""
        if seconds is None:
            self._bell.acquire()
        else:
            self._bell.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


@final
class TaskWaiter(Waiter):
    """Have a coroutine wait for a slot.

    Args:
        loop: The loop that it runs on.
    """

    __slots__ = ("_loop", "future")

    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.future = loop.create_future()

    def wake(self) -> bool:
        """Let the coroutine go on, on its own loop."""
        if running_loop() is self._loop:
            self.resolve()
            return True
        try:
            # In an empty context, or the handle would hold that of whoever wakes us.
            self._loop.call_soon_threadsafe(self.resolve, context=Context())
        except RuntimeError:  # the loop was closed
            return False
        return True

    def resolve(self) -> None:
        """Let the coroutine look. Called on its loop: there is a slot, or the time is over."""
        if not self.future.done():
            self.future.set_result(None)
