"""Finding what was started in a frame and is alive when it ends. Private."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from contextvars import Context
from sys import getrefcount
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from ctxkit.context import Frame
from ctxkit.context._children import has_ended
from ctxkit.context._current import CURRENT
from ctxkit.context._places import place_of, short
from ctxkit.context.frame import NO_FRAME

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ctxkit.context._children import Child, Children

#: Packages whose tasks serve a connection or everybody, in whichever request they begin.
_INFRASTRUCTURE: Final = frozenset(
    [
        "aio_pika",
        "aiobotocore",
        "aiohttp",
        "aiokafka",
        "aiormq",
        "aiosqlite",
        "anyio",
        "asyncpg",
        "daphne",
        "ddtrace",
        "elasticapm",
        "engineio",
        "google",
        "granian",
        "grpc",
        "gunicorn",
        "hypercorn",
        "motor",
        "newrelic",
        "nats",
        "opentelemetry",
        "psycopg",
        "psycopg_pool",
        "pymongo",
        "redis",
        "sentry_sdk",
        "socketio",
        "twisted",
        "uvicorn",
        "waitress",
        "websockets",
        "wsproto",
        "ctxkit",
    ]
)


class Holder(Protocol):
    """Be what has the frame of one invocation; nothing else of ours has it, but its context."""

    @property
    def frame(self) -> Frame:
        """The frame."""
        ...

    @property
    def context(self) -> Context:
        """Where the invocation ran."""
        ...


class _Model:
    __slots__ = ("frame",)

    def __init__(self) -> None:
        self.frame = Frame({})


def _holders(holder: _Model) -> int:
    return getrefcount(holder.frame)


#: What Python counts where only its invocation holds a frame.
_ALONE: Final = _holders(_Model())


def may_have_survivors(holder: Holder) -> bool:
    """Tell whether anything that was started in a frame may be alive.

    For the end of every request, so it does not look at the tasks of the loop, of which there
    can be thousands. A task has a context of its own, which holds the frame it was made in:
    nobody holds that any more where there is none.
    """
    lifetime = holder.frame.lifetime
    if lifetime is not None and not lifetime.over:
        return True
    children = holder.frame.children
    if children is None:
        return False
    if children:
        return True
    if getrefcount(holder.frame) <= _ALONE:
        return False  # not even the context
    context = holder.context
    entered = context.get(CURRENT, NO_FRAME)
    if entered.root is not holder.frame:
        return True
    if loop_of_thread() is None:
        return False
    # A task's context shares what it holds with the one it was copied from, until that changes.
    try:
        context.run(CURRENT.set, NO_FRAME)
    except RuntimeError:
        return True  # it is running: the garbage collector drops the invocation, in the midst of it
    count = getrefcount(holder.frame)
    context.run(CURRENT.set, entered)  # a WSGI server may still read a file in it
    return count > _ALONE + 1  # entered is the frame, or holds it


class Survivor:
    """Be one thing that is alive at the end of the frame it was started in.

    Attributes:
        what: The task, thread, future or result itself.
        kind: "task", "thread", "timer" or "job".
        place: Where it was started, or, of a task, where it is; empty if nobody knows.
        since: When it was started, on the clock of :func:`time.monotonic`, or None.
        loop: The event loop that it needs; None if it goes on by itself.
        is_ending: Whether it was cancelled, and may be about to end for that.
    """

    __slots__ = ("is_ending", "kind", "loop", "place", "since", "what")

    def __init__(self, what: Any, child: Child | None = None) -> None:
        self.what = what
        self.is_ending = False
        self.kind: str = _kind(what)
        self.since: float | None = None
        self.place = ""
        if child is not None:
            self.since = child.since
            if child.code is not None:
                self.place = f"started by {place_of(child.code, child.line)}"
        elif self.kind == "task":
            self.place = _where(what.get_coro())
        self.loop: AbstractEventLoop | None = what.get_loop() if hasattr(what, "get_loop") else None

    @property
    def name(self) -> str:
        """What it is called, as a part of a sentence."""
        if self.kind == "job":
            return "job of a pool"
        what = self.what
        title, work = (
            (what.get_name(), what.get_coro())
            if self.kind == "task"
            else (what.name, getattr(what, "_target", None) or getattr(what, "function", None))
        )
        name: str = getattr(work or what.__class__, "__qualname__", "")
        return f"{self.kind} {title!r}{name and f' of {name}'}"

    def has_ended(self) -> bool:
        """Tell whether it is over."""
        return has_ended(self.what)

    def cancel(self) -> None:
        """Ask it to end, or keep it from beginning, if that is possible at all."""
        cancel = getattr(self.what, "cancel", None)  # of threads, only timers have one
        if cancel is None:
            return
        with suppress(RuntimeError):  # its loop is closed
            if self.loop is None or self.loop is running_loop() or not self.loop.is_running():
                # A job that has begun says no; a timer says nothing.
                self.is_ending = cancel() is not False
            else:
                self.loop.call_soon_threadsafe(cancel, context=Context())
                self.is_ending = True


def find(frame: Frame, loop: AbstractEventLoop | None) -> list[Survivor]:
    """Return what was started in ``frame`` and is alive.

    Args:
        frame: The frame that a boundary opened.
        loop: Whose tasks to look at; None for none but those that were noted.
    """
    children = frame.children
    if children is None:
        return []
    found = {id(what): Survivor(what, child) for child, what in children.living()}
    asyncio: Any = sys.modules.get("asyncio")
    if loop is not None and asyncio is not None:
        this: object = asyncio.current_task(loop) if loop.is_running() else None
        found.pop(id(this), None)
        for task in asyncio.all_tasks(loop):
            if id(task) not in found and task is not this and _is_of(task, children):
                found[id(task)] = Survivor(task)
    return [*found.values()]


def running_loop() -> AbstractEventLoop | None:
    """Return the loop of asyncio that runs in this thread, or None."""
    events: Any = sys.modules.get("asyncio.events")
    return None if events is None else events._get_running_loop()  # noqa: SLF001 - documented


def loop_of_thread() -> AbstractEventLoop | None:
    """Return the loop that runs in this thread, or the one that it would run again, or None.

    Adapters (Mangum) keep a loop and run it for each request: a task that is left over goes on
    in the next one's.
    """
    events: Any = sys.modules.get("asyncio.events")
    if events is None:
        return None
    running: AbstractEventLoop | None = events._get_running_loop()  # noqa: SLF001 - as above
    if running is not None:
        return running
    # Asked in public, it warns, makes a loop or raises, as the version has it.
    policy: Any = getattr(events, "_event_loop_policy", None)
    local: Any = getattr(policy, "_local", None)
    loop: AbstractEventLoop | None = getattr(local, "_loop", None)
    return None if loop is None or loop.is_closed() else loop


def age(since: float | None) -> float | None:
    """Return the seconds since a moment."""
    return None if since is None else monotonic() - since


def _kind(what: Any) -> str:
    if hasattr(what, "get_coro"):
        return "task"
    if not hasattr(what, "is_alive"):
        return "job"
    return "timer" if hasattr(what, "cancel") else "thread"


def _is_of(task: Any, children: Children) -> bool:
    """Tell whether ``task`` works in a frame with these children, and not for everybody."""
    context = _context_of(task)
    if context is None or context.get(CURRENT, NO_FRAME).root.children is not children:
        return False
    frame = getattr(task.get_coro(), "cr_frame", None)
    module = "" if frame is None else str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] not in _INFRASTRUCTURE


def _context_of(task: Any) -> Context | None:
    if hasattr(task, "get_context"):
        context: Context = task.get_context()
        return context
    # Python 3.11 shows it to the collector alone, before those of its callbacks.
    return next((each for each in gc.get_referents(task) if type(each) is Context), None)


def _where(coroutine: Any) -> str:
    for file, line, function in getattr(coroutine, "cr_origin", None) or ():
        return f"started by {function} ({short(file)}:{line})"
    frame = getattr(coroutine, "cr_frame", None)
    return "" if frame is None else f"now at {place_of(frame.f_code, frame.f_lineno)}"
