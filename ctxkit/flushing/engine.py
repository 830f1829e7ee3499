"""The flush engine: every sink at once, one deadline, an honest report."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.flushing._alerts import warn_of
from ctxkit.flushing._lane import Lane
from ctxkit.flushing._latch import Latch
from ctxkit.flushing.budget import default_timeout
from ctxkit.flushing.report import FlushReport, SinkResult, SinkStatus
from ctxkit.flushing.sinks import FOUND_NAMES, discover
from ctxkit.lifecycle import at_shutdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing._lane import Pass
    from ctxkit.flushing.protocol import Sink

# A flush that runs while the process forks leaves its locks locked in the child, for ever.
_FORK_PATIENCE: Final = 0.1  # seconds


@final
class Engine:
    """Hold the lanes of this process. There is one, :data:`_ENGINE`."""

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[FlushReport], object], ...] = ()
        self._added: tuple[Sink, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Begin anew in this process: no threads, nobody waiting."""
        self._pid = os.getpid()
        self._lock = RLock()
        self._sinks: tuple[Sink, ...] = ()
        self._lanes: tuple[Lane, ...] = ()
        self._armed = False
        self.empties: tuple[SinkResult, ...] = ()

    def lanes(self) -> tuple[Lane, ...]:
        """Return a lane for each sink that exists right now."""
        # One thread at a time: two that find the same provider would each make a sink for it,
        # and the one that stays need not be the one that watches.
        with self._lock:
            sinks = discover() + self._added
            if sinks != self._sinks or not self._armed:
                self._line_up(sinks)
            return self._lanes

    def idle(self) -> bool:
        """Whether no sink has anything pending; quick, for the end of every request."""
        try:
            for lane in self.lanes():
                if lane.running is not None or lane.sink.pending() != 0:
                    return False
        except Exception:  # noqa: BLE001 - which sink that was is found out by asking again
            return False
        return True

    def check_process(self) -> None:
        """Begin anew if this process was forked by C code that runs no hooks: uWSGI."""
        if os.getpid() != self._pid:
            self.reset()

    def tell(self, report: FlushReport) -> FlushReport:
        """Hand the report to whoever listens, and return it."""
        for listener in self.listeners:
            _tell(listener, report)
        return report

    def _line_up(self, sinks: tuple[Sink, ...]) -> None:
        known = {id(lane.sink): lane for lane in self._lanes}
        self._lanes = tuple(
            known.pop(id(sink)) if id(sink) in known else Lane(sink) for sink in sinks
        )
        self._sinks = sinks
        self.empties = tuple(lane.empty for lane in self._lanes)
        for lane in known.values():
            lane.retire()
        if not self._armed:
            self._armed = True
            at_shutdown(drain)

    def add(self, sink: Sink) -> None:
        """Flush ``sink`` too from now on."""
        with self._lock:
            taken = {other.name for other in self._added}.union(FOUND_NAMES)
            _check(sink, taken)
            self._added += (sink,)

    def remove(self, sink: Sink) -> None:
        """Flush ``sink`` no more."""
        with self._lock:
            self._added = tuple(other for other in self._added if other is not sink)

    def before_fork(self) -> None:
        """Wait a moment for running passes to end."""
        running = [lane for lane in self._lanes if lane.running is not None]
        if running and get_ident() not in {lane.ident for lane in self._lanes}:
            latch = Latch(len(running))
            for lane in running:
                lane.settle(latch)
            latch.wait(_FORK_PATIENCE)

    def after_fork(self) -> None:
        """Begin anew in the child, and let the sinks do so."""
        self.reset()
        for sink in discover() + self._added:
            revive = getattr(sink, "after_fork", None)
            if revive is not None:
                with suppress(Exception):  # no business of whoever forked
                    revive()


_ENGINE: Final = Engine()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_ENGINE.before_fork, after_in_child=_ENGINE.after_fork)


@final
class _Call:
    """One caller's flush: what is due, and what came of it."""

    __slots__ = ("budget", "due", "lanes", "latch", "reason", "started")

    def __init__(self, started: float, budget: float, reason: str) -> None:
        self.started = started
        self.budget = budget
        self.reason = reason
        _ENGINE.check_process()
        self.lanes = lanes = _ENGINE.lanes()
        self.due: dict[Lane, tuple[Pass | None, int | None]] = {}
        self.latch: Latch | None = None
        # A flush inside a flush would wait for itself.
        if get_ident() in {lane.ident for lane in lanes}:
            return
        for lane in lanes:
            pending = lane.pending()
            if pending != 0 or lane.running is not None:
                self.due[lane] = (None, pending)

    def begin(self, latch: Latch) -> float:
        """Set every due sink to work; return the seconds left to wait."""
        self.latch = latch
        for lane, (_, pending) in self.due.items():
            self.due[lane] = (lane.join(latch, self.budget, pending), pending)
        return self.started + self.budget - monotonic()

    def report(self) -> FlushReport:
        """Return what is known at this moment, and tell whoever listens."""
        results = tuple(
            self._result(lane, *self.due[lane]) if lane in self.due else lane.empty
            for lane in self.lanes
        )
        report = FlushReport(self.reason, monotonic() - self.started, self.budget, results)
        if self.budget > 0:
            warn_of(report)
        return _ENGINE.tell(report)

    def abandon(self) -> None:
        """Wait for nothing any more, and let nobody keep the latch."""
        for lane, (due, _) in self.due.items():
            self._leave(lane, due)

    def _leave(self, lane: Lane, due: Pass | None) -> None:
        if due is not None and self.latch is not None:
            lane.leave(due, self.latch)

    def _result(self, lane: Lane, due: Pass | None, pending: int | None) -> SinkResult:
        outcome = None if due is None else due.outcome
        if due is None or outcome is None:
            self._leave(lane, due)
            detail = f"not done within {self.budget:g} s; it goes on in the background"
            if self.budget == 0:
                detail = "begun, and not waited for"
            seconds = monotonic() - self.started
            return SinkResult(lane.sink.name, SinkStatus.TIMEOUT, seconds, pending, detail)
        seconds = max(0.0, due.finished - self.started)
        return SinkResult(lane.sink.name, outcome.status, seconds, pending, outcome.detail)


def _nothing(started: float, budget: float, reason: str) -> FlushReport:
    report = FlushReport(reason, monotonic() - started, budget, _ENGINE.empties)
    return _ENGINE.tell(report) if _ENGINE.listeners else report


def flush(timeout: float | None = None, *, reason: str = "explicit") -> FlushReport:
    """Push out what Sentry, OpenTelemetry and added sinks hold, and wait until it arrived.

    All sinks are flushed at once, each in a thread of its own. With nothing pending this
    takes microseconds and starts no thread.

    Args:
        timeout: The most seconds to wait. None: what ``CTXKIT_FLUSH_TIMEOUT`` says, else
            2.0. 0: begin, but do not wait. Where the time is over first, the flush goes on
            in the background.
        reason: What the report and the log call the occasion.

    Returns:
        What came of it, sink by sink. No sink's failure is ever raised.

    Raises:
        ConfigurationError: ``timeout`` is None and ``CTXKIT_FLUSH_TIMEOUT`` is unusable.

    Safety:
        Blocks the calling thread up to ``timeout``; in a coroutine use :func:`aflush`. Any
        number of threads may flush at once: they share the work. Never calls a provider's
        ``shutdown()`` or a client's ``close()``. Usable in a forked child.
    """
    started = monotonic()
    budget = default_timeout() if timeout is None else max(0.0, timeout)
    if _ENGINE.idle():
        return _nothing(started, budget, reason)
    call = _Call(started, budget, reason)
    if call.due:
        latch = Latch(len(call.due))
        latch.wait(call.begin(latch))
    return call.report()


async def aflush(
    timeout: float | None = None,  # noqa: ASYNC109 - a budget that ends in a report, no exception
    *,
    reason: str = "explicit",
) -> FlushReport:
    """Push out what all sinks hold, and wait without blocking the event loop.

    Args:
        timeout: As for :func:`flush`.
        reason: As for :func:`flush`.

    Returns:
        What came of it, sink by sink.

    Raises:
        ConfigurationError: ``timeout`` is None and ``CTXKIT_FLUSH_TIMEOUT`` is unusable.

    Safety:
        Cancelling it ends the waiting, not the flush, which goes on in its threads. On
        another event loop than asyncio's it blocks, as :func:`flush` does.
    """
    started = monotonic()
    budget = default_timeout() if timeout is None else max(0.0, timeout)
    if _ENGINE.idle():
        return _nothing(started, budget, reason)
    call = _Call(started, budget, reason)
    if call.due:
        from ctxkit.flushing._alatch import new_latch  # noqa: PLC0415 - flush() needs no asyncio

        latch = new_latch(len(call.due))
        try:
            await latch.awaited(call.begin(latch))
        except BaseException:
            call.abandon()
            raise
    return call.report()


def drain() -> None:
    """Flush for the last time before the process ends, within the default budget.

    Runs by itself at shutdown once anything was flushed or :func:`prepare` was called.
    """
    flush(reason="shutdown")


def prepare() -> None:
    """Look for sinks now, watch what becomes of their exports, and drain them at shutdown.

    A boundary calls this before its first request, so that what that request's SDKs export
    on their own, before the first flush, is accounted for too. Cheap, and safe to repeat.
    """
    for lane in _ENGINE.lanes():
        lane.pending()


def add_sink(sink: Sink) -> None:
    """Have ``sink`` flushed together with the ones that are found by themselves.

    Raises:
        ConfigurationError: It lacks a part of :class:`Sink`, or its name is taken.
    """
    _ENGINE.add(sink)


def remove_sink(sink: Sink) -> None:
    """Take off what :func:`add_sink` added; unknown sinks are ignored."""
    _ENGINE.remove(sink)


def on_report(listener: Callable[[FlushReport], object]) -> Callable[[], None]:
    """Have ``listener`` called with every report, in the thread or task that flushed.

    Args:
        listener: Must be quick and must not block. What it raises is logged.

    Returns:
        A callable that takes the listener off again.
    """

    # Told apart by identity of the pair: the same listener may be added twice.
    def call(report: FlushReport) -> object:
        return listener(report)

    _ENGINE.listeners += (call,)

    def remove() -> None:
        _ENGINE.listeners = tuple(other for other in _ENGINE.listeners if other is not call)

    return remove


def _check(sink: Sink, taken: set[str]) -> None:
    name = getattr(sink, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "add_sink()", f"got a sink whose name is {name!r}", "Give it a name, a string."
        )
    if name in taken:
        raise ConfigurationError(
            "add_sink()", f"got a second sink named {name!r}", "Give each sink its own name."
        )
    for method in ("pending", "flush"):
        if not callable(getattr(sink, method, None)):
            raise ConfigurationError(
                "add_sink()",
                f"got {sink!r}, which has no method {method}()",
                "See ctxkit.Sink for what a sink has to offer.",
            )


def _tell(listener: Callable[[FlushReport], object], report: FlushReport) -> None:
    try:
        listener(report)
    except Exception:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.flushing").exception("ctxkit.flush.listener_failed")
