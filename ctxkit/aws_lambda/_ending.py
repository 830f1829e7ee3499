"""The end of an environment, which Lambda announces by SIGTERM where an extension is registered.

The runtime polls in a thread of its own, and so lets signal handlers run, from Python 3.12 on.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from ctxkit.flushing import flush
from ctxkit.lifecycle import run_shutdown
from ctxkit.lifecycle.sigterm import Standby

if TYPE_CHECKING:
    from types import FrameType

# Of the 500 ms that Lambda gives a process with an internal extension, which it may share.
_GRACE: Final = 0.3  # seconds

_handler: Any = None


def catch_sigterm() -> bool:
    """Flush, and end, when Lambda ends the environment. In the main thread only. Idempotent.

    A handler that is there already is called afterwards, and decides about the end.

    Returns:
        Whether it was done: not outside of the main thread, nor where the signal is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    global _handler  # noqa: PLW0603 - one per process, like the signal
    earlier = signal.getsignal(signal.SIGTERM)
    if earlier is _handler is not None:  # a second flush would take what the first has left
        return True
    if earlier not in (signal.SIG_DFL, None) and not callable(earlier):
        return False

    # In a thread: the signal may have interrupted this one while it held what a flush needs.
    try:
        standby = Standby(_flush)
    except RuntimeError:  # too many threads
        return False

    def end(number: int, frame: FrameType | None) -> None:
        standby.call(_GRACE)
        if callable(earlier):
            earlier(number, frame)
        else:
            # sys.exit() would wait for the thread in which the runtime polls.
            os._exit(0)

    _handler = end
    signal.signal(signal.SIGTERM, end)
    return True


def _flush() -> None:
    run_shutdown()
    flush(_GRACE, reason="shutdown")  # what the last of those recorded
