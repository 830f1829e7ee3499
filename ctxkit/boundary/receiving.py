"""The boundary of what comes out of a queue: a message, a task, a job."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from ctxkit.boundary.entering import Entry
from ctxkit.boundary.keys import INVOCATION, PROTOCOL
from ctxkit.propagation import extract

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.boundary.options import BoundaryOptions

#: The protocol of what came out of a queue.
TASK_PROTOCOL: Final = "task"


def received(name: str, carrier: object, options: BoundaryOptions) -> Entry:
    """Return the invocation of a piece of work that was sent with a carrier.

    To be entered where nothing else is: in a function that :func:`ctxkit.detached` has made.

    Args:
        name: What the work is called.
        carrier: What :func:`ctxkit.inject` has written for it. Anything can be in a queue:
            what is no mapping counts as empty, and what is wrong in one is left out.
        options: What was chosen at this boundary; the carrier is read only if
            ``trust_context`` is on.

    Returns:
        A context manager. Its frame holds what the carrier said and nothing else; its id is
        that of whoever sent the work, if the carrier told it.
    """
    known: dict[str, object] = {}
    if isinstance(carrier, Mapping):
        mapping = cast("Mapping[Any, object]", carrier)
        for key, value in extract(mapping, trusted=options.trust_context).items():
            known[str(key)] = value
    return Entry(options, known | {INVOCATION.name: name, PROTOCOL.name: TASK_PROTOCOL})


# https://github.com/django/asgiref/blob/main/asgiref/sync.py; older ones have not all of them.
_BRIDGES: Final = (
    ("SyncToAsync", "thread_sensitive_context"),
    ("SyncToAsync", "deadlock_context"),
    ("AsyncToSync", "async_single_thread_context"),
)


def bridges() -> list[Callable[[], object]]:
    """Return what puts in place, in an empty context, what asgiref knows about threads.

    It knows by the context which threads wait for this one. Without that, synchronous code that
    is called in the new context would be sent to a thread that waits for it, or not to the one
    that has the database's connections.
    """
    asgiref: Any = sys.modules.get("asgiref.sync")
    found: list[Callable[[], object]] = []
    for owner, name in _BRIDGES:
        variable: Any = getattr(getattr(asgiref, owner, None), name, None)
        value: object = variable.get(None) if hasattr(variable, "get") else None
        if value is not None:
            found.append(partial(variable.set, value))
    executors: Any = getattr(getattr(asgiref, "AsyncToSync", None), "executors", None)
    executor: object = getattr(executors, "current", None)
    if executor is not None:
        found.append(partial(setattr, executors, "current", executor))
    return found
