"""The lifespan of an ASGI server, as one life of the process."""

from __future__ import annotations

import sys

from ctxkit.lifecycle.hooks import run_init, run_shutdown
from ctxkit.lifecycle.phases import ENVIRONMENT


def begin_lifespan() -> None:
    """Call what waits for the process to begin, before the server takes requests."""
    run_init()


async def end_lifespan() -> None:
    """Close what is warm in this loop, and call what waits for the process to end.

    Not where Mangum serves on Lambda: it begins and ends a lifespan with every invocation,
    and the process goes on.
    """
    if ENVIRONMENT.name == "aws-lambda" and "mangum" in sys.modules:
        return
    asynchronous = sys.modules.get("ctxkit.lifecycle.warming_async")
    try:
        if asynchronous is not None:
            await asynchronous.aclose_warm()
    finally:  # a server that is in a hurry cancels
        run_shutdown()
