"""How a coroutine waits for passes. Apart, since it needs asyncio, which flush() does not."""

from __future__ import annotations

from asyncio import get_running_loop
from contextlib import suppress

from ctxkit.flushing._latch import Latch


class AsyncLatch(Latch):
    """Open for a coroutine, from another thread.

    Args:
        count: How many passes to wait for; at least one.

    Raises:
        RuntimeError: There is no running asyncio loop.
    """

    __slots__ = ("_future", "_loop")

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._loop = get_running_loop()
        self._future = self._loop.create_future()

    async def awaited(self, seconds: float) -> None:
        """Wait until all passes are over, or for ``seconds``."""
        if seconds <= 0:
            return
        timer = self._loop.call_later(seconds, self._resolve)
        try:
            await self._future
        finally:
            timer.cancel()

    def _open(self) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            self._loop.call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        if not self._future.done():  # else timed out, or cancelled
            self._future.set_result(None)
