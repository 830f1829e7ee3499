"""The debug mode of a boundary: report what still holds a request that is over. Private.

Finished requests are remembered weakly, and looked at when later ones open: no thread and
no timer of our own, which would be one more holder.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from _thread import get_ident
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary, ref

from ctxkit.context._current import CURRENT
from ctxkit.context._places import Place, told_of
from ctxkit.propagation._tracing import TRACING
from ctxkit.propagation.leaks import search

if TYPE_CHECKING:
    from contextvars import ContextVar

    from ctxkit.boundary.crossing import Crossing
    from ctxkit.context import Frame

logger: Final = logging.getLogger("ctxkit")

#: Seconds after its end in which something may still be finishing with a request.
GRACE: Final = 1.0
#: Seconds between two searches: each looks at every object of the process.
INTERVAL: Final = 1.0
#: Finished requests that are remembered, and that one search looks at.
REMEMBERED: Final = 256
SEARCHED: Final = 8

#: Variables that are remembered as reported; there can be no end of them.
_VARIABLES: Final = 32


class _Finished(NamedTuple):
    frame: ref[Frame]
    title: str
    ended: float


class _Base(NamedTuple):
    """What the server's context held when a request was opened, by identity."""

    place: tuple[int, int]
    values: dict[ContextVar[Any], int]


class _Report:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._finished: deque[_Finished] = deque(maxlen=REMEMBERED)
        self._searched = float("-inf")
        self._bases: WeakKeyDictionary[Frame, _Base] = WeakKeyDictionary()
        self._stuck: set[str] = set()

    def bound(self, frame: Frame) -> None:
        """Do nothing: what counts is the frame of the request, which the ones in it hold."""

    def over(self, frame: Frame) -> None:
        """Do nothing; see :meth:`bound`."""

    def opened(self, crossing: Crossing) -> None:
        self._bases[crossing.frame] = _Base(_here(), _identities())
        self._look()

    def closed(self, crossing: Crossing) -> None:
        frame = crossing.frame
        title = crossing.request_id + told_of(frame, "method", "path")
        self._compare(self._bases.pop(frame, None), title)
        self._finished.append(_Finished(ref(frame), title, time.monotonic()))

    def _compare(self, base: _Base | None, title: str) -> None:
        """Report what a request left in the context of the thread or task that served it."""
        if base is None or base.place != _here():
            return  # closed elsewhere: by another thread, by the collector
        for variable, identity in _identities().items():
            name = variable.name
            if base.values.get(variable) == identity or name in self._stuck:
                continue
            if len(self._stuck) < _VARIABLES:
                self._stuck.add(name)
                logger.warning(
                    "ctxkit.leak: request %s left the ContextVar %r set in the context of the "
                    "server's thread %r. Reset it where it is set.",
                    title,
                    name,
                    threading.current_thread().name,
                )

    def _look(self) -> None:
        """Search for what holds the requests whose grace is over, if it is time to."""
        now = time.monotonic()
        if now - self._searched < INTERVAL or not self._lock.acquire(blocking=False):
            return
        try:
            due: list[_Finished] = []
            while self._finished and len(due) < SEARCHED:
                finished = self._finished[0]
                if now - finished.ended < GRACE:
                    break
                self._finished.popleft()
                if finished.frame() is not None:
                    due.append(finished)
            if due:
                for finished in due:
                    _tell(finished, now)
                self._searched = time.monotonic()
        finally:
            self._lock.release()


_report: _Report | None = None
_switch: Final = threading.Lock()


def opened(crossing: Crossing) -> None:
    """Note that a request was opened; report what is due."""
    if crossing.options.report_leaks:
        (_report or _started()).opened(crossing)
    TRACING.bound(crossing.frame, place=Place("the boundary", "", 0))


def closed(crossing: Crossing) -> None:
    """Note that a request is over."""
    report = _report
    if crossing.options.report_leaks and report is not None:
        report.closed(crossing)
    TRACING.over(crossing.frame)


def stop() -> None:
    """Report nothing more until the next request, and forget the finished ones."""
    global _report  # noqa: PLW0603 - one for the process
    with _switch:
        if _report is not None:
            TRACING.stop(_report)
            _report = None


def _started() -> _Report:
    global _report  # noqa: PLW0603 - as above
    with _switch:
        if _report is None:
            report = _Report()
            TRACING.start(report)
            _report = report
        return _report


def _tell(finished: _Finished, now: float) -> None:
    # asyncio gives the task of the next request the context of the one that resumed reading
    # (python/cpython#140947): a server's affair, against which the boundary is armed.
    task = _task()
    try:
        leaks = search([finished.frame], spare=task)
    except Exception:
        # It asks strangers for their names: none of them may break a request.
        logger.exception("ctxkit.leak: the search for request %s failed", finished.title)
        return
    for leak in leaks:
        if not leak.passing and (task is None or leak.kind != "context"):
            logger.warning(
                "ctxkit.leak: request %s ended %.1f s ago: %s",
                finished.title,
                now - finished.ended,
                leak,
            )


def _task() -> object | None:
    asyncio: Any = sys.modules.get("asyncio")
    try:
        task: object = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # no loop runs here
        return None
    return task


def _here() -> tuple[int, int]:
    """Return what tells one context of a server from another: its thread and its task."""
    return get_ident(), id(_task())


def _identities() -> dict[ContextVar[Any], int]:
    # The frame's own variable is the boundary's business.
    return {v: id(value) for v, value in copy_context().items() if v is not CURRENT}
