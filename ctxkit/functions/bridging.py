"""From synchronous code to coroutine functions."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxkit.context.lifetime import Wakeup, checkpoint
from ctxkit.lifecycle._survivors import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable


def run_coroutine(name: str, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a coroutine function and wait for its result.

    Raises:
        RuntimeError: A loop runs in this thread, which would stand still.
    """
    if running_loop() is not None:
        msg = (
            f"{name} is a coroutine function, and an event loop runs in this thread. "
            "Await it, or ctxkit.acall()."
        )
        raise RuntimeError(msg)
    asgiref: Any = sys.modules.get("asgiref.sync")
    if asgiref is not None:
        # What is sensitive to its thread runs in this one, as under Django.
        return asgiref.async_to_sync(cancellable)(call, args, kwargs)
    return asyncio.run(cancellable(call, args, kwargs))


async def cancellable(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a coroutine function for synchronous code that waits for it, and may be cancelled.

    Raises:
        Cancelled: It was.
    """
    task: Any = asyncio.current_task()
    loop, asked = task.get_loop(), [task.cancel]  # once: what cleans up is not to be disturbed
    del task  # the traceback of what it raises holds this frame

    def wake() -> None:
        with suppress(IndexError, RuntimeError):  # it was asked; it has ended, with its loop
            loop.call_soon_threadsafe(asked.pop())

    with Wakeup(wake):
        try:
            return await call(*args, **kwargs)
        except asyncio.CancelledError:
            if not asked:
                checkpoint()
            raise
        finally:
            asked.clear()
