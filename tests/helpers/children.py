"""Running something in a forked child and hearing of it."""

from __future__ import annotations

import os
import pickle
import signal
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(work: Callable[[], object], *, timeout: float = 30.0) -> list[Any]:
    """Return what ``work`` returns in a forked child, a tuple, as a list.

    A child that takes longer than ``timeout`` seconds is killed, and has returned nothing.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # That the process has threads is what some of the tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reader)
        signal.setitimer(signal.ITIMER_REAL, timeout)  # kills, since nobody handles it
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            answer = pickle.dumps(work())
        except BaseException as error:
            answer = pickle.dumps(("failed", repr(error)))
        os.write(writer, answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return list(pickle.loads(answer)) if answer else []
