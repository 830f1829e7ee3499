"""Running something in a forked child and hearing of it."""

from __future__ import annotations

import os
import pickle
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_child(work: Callable[[], object]) -> list[Any]:
    """Return what ``work`` returns in a forked child, a tuple, as a list."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # That the process has threads is what some of the tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os.close(reader)
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
    return list(pickle.loads(answer))
