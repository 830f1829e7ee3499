"""What requests leave, where it is looked for, and what was noted when nobody was looking.

One value in each kind of holder that an application may have. None is ever reset.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asgiref.local

import ctxkit

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0  # seconds
# Of a body whose client has gone: more than the buffers on the way can take, in few parts.
LARGE = b"x" * 65_536
LARGE_PARTS = 150

var: ContextVar[str | None] = ContextVar("var", default=None)
local = ctxkit.Local()
django_like = asgiref.local.Local()  # as Django keeps its language

Seen = dict[str, "str | None"]


def look() -> Seen:
    """Return what is seen here."""
    return {
        "request_id": ctxkit.get("request_id"),
        "ContextVar": var.get(),
        "bind": ctxkit.get("bound"),
        "Local": getattr(local, "value", None),
        "asgiref": getattr(django_like, "value", None),
    }


def leave(value: str) -> None:
    """Leave ``value`` in each holder."""
    var.set(value)
    ctxkit.bind(bound=value).__enter__()
    local.value = value
    django_like.value = value


def seen_by(key: str, turn: int) -> Seen:
    """Return what was left before, and leave the next."""
    seen = look()
    leave(f"{key}.{turn}")
    return seen


# Notes ----------------------------------------------------------------------------------

_notes: dict[str, dict[str, Seen]] = defaultdict(dict)


def note(key: str, event: str) -> None:
    """Note what ``event`` sees, for the request that asks later; leave something too."""
    seen = look()
    leave(f"{key}.{event}")
    _notes[key][f"{event} again" if event in _notes[key] else event] = seen


def noted(key: str, wanted: int) -> dict[str, Seen] | None:
    """Return the notes of a request once there are as many as wanted; None before."""
    return dict(_notes[key]) if len(_notes[key]) >= wanted else None


def released(key: str) -> bool:
    """Return whether the client said to go on. By a file: a server may be busy with this."""
    return Path(os.environ["SERVED_LOG"]).with_name(f"{key}.go").exists()


def wait_until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := true()):
        assert time.monotonic() < deadline
        time.sleep(0.003)
    return result


# Carriers -------------------------------------------------------------------------------

_met: dict[str, threading.Barrier] = {}
_lock = threading.Lock()
# One thread for all: it was started by whichever request came first.
POOL = ctxkit.ThreadPoolExecutor(1)


def meet(room: str) -> None:
    """Wait until both requests of ``room`` are here."""
    with _lock:
        barrier = _met.setdefault(room, threading.Barrier(2))
    barrier.wait(PATIENCE)


def carried() -> dict[str, Seen]:
    """Return what each carrier of the standard library's kind sees of this request."""
    seen = {"here": look()}

    def put(name: str) -> Callable[[], None]:
        return lambda: seen.__setitem__(name, look())

    for thread in (ctxkit.Thread(target=put("Thread")), ctxkit.Timer(0.001, put("Timer"))):
        thread.start()
        thread.join(PATIENCE)
    seen["ThreadPoolExecutor"] = POOL.submit(look).result(PATIENCE)
    return seen


def outlive(key: str) -> None:
    """Start threads that see this request when it is over, once they are released."""

    def go_on(event: str) -> None:
        wait_until(lambda: released(key))
        note(key, event)

    ctxkit.Thread(target=go_on, args=("Thread",)).start()
    ctxkit.Timer(0.001, go_on, ("Timer",)).start()
    POOL.submit(go_on, "ThreadPoolExecutor")
