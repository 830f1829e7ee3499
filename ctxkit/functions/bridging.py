"""From synchronous code to coroutine functions."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

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
        return asgiref.async_to_sync(call)(*args, **kwargs)

    async def main() -> Any:
        return await call(*args, **kwargs)

    return asyncio.run(main())
