"""How a coroutine waits for passes. Apart, since it needs asyncio, which flush() does not."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import suppress
from typing import TYPE_CHECKING

from ctxkit.flushing._latch import Latch

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class AsyncLatch(Latch):
    """Open for a coroutine, from another thread.

    Args:
        count: How many passes to wait for; at least one.
        loop: The loop that the coroutine runs on; None if that is not asyncio's.
    """

    __slots__ = ("_future", "_loop")

    def __init__(self, count: int, loop: AbstractEventLoop | None) -> None:
        super().__init__(count)
        self._loop = loop
        self._future = None if loop is None else loop.create_future()

    async def awaited(self, seconds: float) -> None:
        """Wait until all passes are over, or for ``seconds``."""
        loop, future = self._loop, self._future
        if loop is None or future is None:
            self.wait(seconds)
        elif seconds > 0:
            timer = loop.call_later(seconds, self._resolve)
            try:
                await future
            finally:
                timer.cancel()

    def _open(self) -> None:
        if self._loop is None:
            super()._open()
            return
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        future = self._future
        if future is not None and not future.done():  # else timed out, or cancelled
            future.set_result(None)


def new_latch(count: int) -> AsyncLatch:
    """Return a latch for ``count`` passes, bound to the loop that runs here."""
    try:
        return AsyncLatch(count, get_running_loop())
    except RuntimeError:
        return AsyncLatch(count, None)
