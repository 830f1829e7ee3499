"""What has to happen before the process ends, whoever ends it."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# A dict for its order and for having each callback once.
_callbacks: dict[Callable[[], object], None] = {}


def at_shutdown(callback: Callable[[], object]) -> Callable[[], None]:
    """Have ``callback`` called when the process, or the server's lifespan, ends.

    Args:
        callback: Called without arguments, last registered first; registering it again
            changes nothing. It may be called more than once (a server that runs its
            lifespan for each invocation, then the interpreter's exit), so it has to be
            cheap when there is nothing to do. It must not rely on new threads: CPython
            3.12 refuses them at exit.

    Returns:
        A callable that takes the callback off again.
    """
    if not _callbacks:
        atexit.unregister(run_shutdown)
        atexit.register(run_shutdown)
    _callbacks.setdefault(callback)

    def remove() -> None:
        _callbacks.pop(callback, None)

    return remove


def run_shutdown() -> None:
    """Call everything registered with :func:`at_shutdown`, last registered first.

    Runs by itself at the interpreter's exit. Servers that end without it (uvicorn re-raises
    SIGTERM with its default action) are covered by calling this from ``lifespan.shutdown``.

    Safety:
        Every callback runs, whatever the others do. An ``Exception`` is logged, anything
        else is passed on when all have run.
    """
    with ExitStack() as stack:
        for callback in list(_callbacks):
            stack.callback(_call, callback)


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit").exception("ctxkit.shutdown.failed: %r", callback)
