"""The flush engine: every sink at once, one deadline, an honest report."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import RLock, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from ctxkit.context import NO_FRAME
from ctxkit.context._current import CURRENT
from ctxkit.flushing import _nudging
from ctxkit.flushing._alerts import warn_of
from ctxkit.flushing._call import Call
from ctxkit.flushing._counters import Tally
from ctxkit.flushing._lane import Lane
from ctxkit.flushing._latch import Latch
from ctxkit.flushing.budget import default_timeout
from ctxkit.flushing.protocol import check
from ctxkit.flushing.report import FlushReport
from ctxkit.flushing.sinks import FOUND_NAMES, discover, tells
from ctxkit.flushing.sinks._evidence import Evidence
from ctxkit.flushing.sinks._watching import STIR
from ctxkit.flushing.spooling import switch
from ctxkit.lifecycle import on_shutdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing._counters import SinkCounters
    from ctxkit.flushing.protocol import Sink
    from ctxkit.flushing.report import SinkResult

_LAST: Final = "shutdown"  # the reason of a flush after which there will be none

# A flush that runs while the process forks leaves its locks locked in the child, for ever.
_FORK_PATIENCE: Final = 0.1  # seconds

# Sinks that take one flush at a time are pushed only with so much in their hands: the SDKs
# export as many at once, so less than that costs one round trip at the end anyway, and a push
# that is under way then costs another.
_BACKLOG: Final = 512

# Sinks that come and go under ever new names must not fill the memory.
_MOST_TALLIES: Final = 100


@final
class Engine:
    """Hold the lanes of this process. There is one, :data:`_ENGINE`."""

    def __init__(self) -> None:
        self.listeners: tuple[Callable[[FlushReport], object], ...] = ()
        self._added: tuple[Sink, ...] = ()
        self.reset()

    @property
    def tallies(self) -> dict[str, Tally]:
        """What became of the flushes of each sink there was, by its name."""
        return self._tallies.copy()

    def reset(self) -> None:
        """Begin anew in this process: no threads, nobody waiting."""
        self._pid = os.getpid()
        self._lock = RLock()
        self._sinks: tuple[Sink, ...] = ()
        self._lanes: tuple[Lane, ...] = ()
        self._tallies: dict[str, Tally] = {}
        self._armed = False
        self.evidence: Evidence | None = None
        self.empties: tuple[SinkResult, ...] = ()

    def lanes(self) -> tuple[Lane, ...]:
        """Return a lane for each sink that exists right now."""
        # One thread at a time: two that find the same provider would each make a sink for it,
        # and the one that stays need not be the one that watches.
        with self._lock:
            if self.evidence is not None and self.evidence.holds():
                return self._lanes
            known = Evidence()
            sinks = discover() + self._added
            if sinks != self._sinks or not self._armed:
                self._line_up(sinks)
            # Last: who asks idle() meanwhile takes no lock, and must not trust the old lanes.
            self.evidence = known
            return self._lanes

    def idle(self) -> bool:
        """Whether no sink has anything pending; quick, for the end of every request."""
        known = self.evidence
        try:
            if known is None:
                return self._look_around()
            calm, others = known.calmed
            if not calm():
                return self._look_around()
            for lane in others:
                if lane.stirred or lane.ask() != 0:
                    return False
        except Exception:  # noqa: BLE001 - which sink that was is found out by asking again
            return False
        return True

    def _look_around(self) -> bool:
        """Ask every sink, and note who need not be asked again until something stirs."""
        mark = STIR.mark
        self.lanes()
        # In this order: lanes that are newer than the evidence do no harm.
        known, lanes = self.evidence, self._lanes
        for lane in lanes:
            if lane.stirred or lane.ask() != 0:
                return False
        if known is not None:
            others = tuple(lane for lane in lanes if not tells(lane.sink))
            known.calmed = known.calm_since(mark), others
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

    def begin(self, started: float, timeout: float, *, last: bool) -> Call:
        """Return the call of one who wants to flush now."""
        self.check_process()
        lanes = self.lanes()
        # A flush inside a flush would wait for itself.
        inside = self.is_flushing(lanes)
        _nudging.rest()
        return Call(lanes, started, timeout, last=last, inside=inside)

    def push(self) -> None:
        """Begin to flush what is pending, wherever that delays nobody."""
        self.check_process()
        lanes = self.lanes()
        if self.is_flushing(lanes):
            return
        for lane in lanes:
            pending = lane.pending()
            if pending and (pending >= _BACKLOG or lane.at_once() > 1):
                lane.push(pending)

    def _line_up(self, sinks: tuple[Sink, ...]) -> None:
        known = {id(lane.sink): lane for lane in self._lanes}
        self._sinks = sinks
        self._lanes = tuple(
            known.pop(id(sink)) if id(sink) in known else self._new_lane(sink) for sink in sinks
        )
        self.empties = tuple(lane.empty for lane in self._lanes)
        for lane in known.values():
            lane.retire()
        if not self._armed:
            self._armed = True
            on_shutdown(drain)
            switch.start_declared()
            from ctxkit.flushing import _thawing  # noqa: PLC0415 - which flushes, too

            _thawing.arm()

    def _new_lane(self, sink: Sink) -> Lane:
        used = {other.name for other in self._sinks}
        unused = [name for name in self._tallies if name not in used and name != sink.name]
        while unused and len(self._tallies) >= _MOST_TALLIES:
            del self._tallies[unused.pop(0)]
        return Lane(sink, self._tallies.setdefault(sink.name, Tally()), self._lost_in_a_push)

    def _lost_in_a_push(self, result: SinkResult) -> None:
        report = FlushReport("push", 0.0, 0.0, (result,))
        warn_of(report)
        self.tell(report)

    def add(self, sink: Sink) -> None:
        """Flush ``sink`` too from now on."""
        with self._lock:
            taken = {other.name for other in self._added}.union(FOUND_NAMES)
            check(sink, taken)
            self._added += (sink,)
            self.evidence = None

    def remove(self, sink: Sink) -> None:
        """Flush ``sink`` no more."""
        with self._lock:
            self._added = tuple(other for other in self._added if other is not sink)
            self.evidence = None

    def before_fork(self) -> None:
        """Wait a moment for running passes to end."""
        running = [(lane, due) for lane in self._lanes for due in lane.running]
        if running and not self.is_flushing(self._lanes):
            latch = Latch(len(running))
            for lane, due in running:
                lane.settle(due, latch)
            latch.wait(_FORK_PATIENCE)
            for lane, due in running:
                lane.leave(due, latch)

    @staticmethod
    def is_flushing(lanes: tuple[Lane, ...]) -> bool:
        """Whether this thread is one of those that flush."""
        ident = get_ident()
        return any(ident in lane.idents for lane in lanes)

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


def flush(
    timeout: float | None = None, *, reason: str = "explicit", request_id: str | None = None
) -> FlushReport:
    """Push out what Sentry, OpenTelemetry and added sinks hold, and wait until it arrived.

    All sinks are flushed at once, each in threads of its own. With nothing pending this
    takes microseconds and starts no thread.

    Args:
        timeout: The most seconds to wait. None: what ``CTXKIT_FLUSH_TIMEOUT`` says, else
            2.0. 0: begin, but do not wait. Below 0: the same, because a deadline leaves no
            time; the report says so. Where the time is over first, the flush goes on in the
            background.
        reason: What the report and the log call the occasion.
        request_id: What the report calls the request; None: as the current frame does.

    Returns:
        What came of it, sink by sink. No sink's failure is ever raised.

    Raises:
        ConfigurationError: ``timeout`` is None and ``CTXKIT_FLUSH_TIMEOUT`` is unusable.

    Safety:
        Blocks the calling thread up to ``timeout``; in a coroutine use :func:`aflush`. Any
        number of threads may flush at once: they share the work. A sink that has failed
        twice in a row is left alone for a while. Never calls a provider's ``shutdown()`` or
        a client's ``close()``. Usable in a forked child.
    """
    started = monotonic()
    timeout = default_timeout() if timeout is None else timeout
    if _ENGINE.idle():
        return _nothing(started, timeout, reason, request_id)
    call = _ENGINE.begin(started, timeout, last=reason == _LAST)
    try:
        for latch, until in call.begin(Latch):
            latch.wait(until - monotonic())
    except BaseException:  # a signal handler's
        call.abandon()
        raise
    return _report(call, reason, request_id)


async def aflush(
    timeout: float | None = None,  # noqa: ASYNC109 - a budget that ends in a report, no exception
    *,
    reason: str = "explicit",
    request_id: str | None = None,
) -> FlushReport:
    """Push out what all sinks hold, and wait without blocking the event loop.

    Args:
        timeout: As for :func:`flush`.
        reason: As for :func:`flush`.
        request_id: As for :func:`flush`.

    Returns:
        What came of it, sink by sink.

    Raises:
        ConfigurationError: ``timeout`` is None and ``CTXKIT_FLUSH_TIMEOUT`` is unusable.

    Safety:
        Cancelling it ends the waiting, not the flush, which goes on in its threads. On
        another event loop than asyncio's it blocks, as :func:`flush` does.
    """
    started = monotonic()
    timeout = default_timeout() if timeout is None else timeout
    if _ENGINE.idle():
        return _nothing(started, timeout, reason, request_id)
    from ctxkit.flushing._alatch import new_latch  # noqa: PLC0415 - flush() needs no asyncio

    call = _ENGINE.begin(started, timeout, last=reason == _LAST)
    try:
        for latch, until in call.begin(new_latch):
            await latch.awaited(until - monotonic())
    except BaseException:
        call.abandon()
        raise
    return _report(call, reason, request_id)


def nothing_pending() -> bool:
    """Return whether a flush would find nothing to do and nobody to tell that.

    For boundaries: the quickest end of a request.
    """
    if _ENGINE.listeners:
        return False
    known = _ENGINE.evidence
    # What idle() asks first, spelled out.
    if known is not None and not known.calmed[1] and known.calmed[0]():
        return True
    return _ENGINE.idle()


def _nothing(started: float, timeout: float, reason: str, request_id: str | None) -> FlushReport:
    request_id = request_id or _current_id()
    empties, seconds = _ENGINE.empties, monotonic() - started
    report = FlushReport(reason, seconds, max(0.0, timeout), empties, request_id)
    return _ENGINE.tell(report) if _ENGINE.listeners else report


def _report(call: Call, reason: str, request_id: str | None) -> FlushReport:
    """Say what came of a call, and tell whoever listens."""
    results, seconds = call.results(), monotonic() - call.started
    request_id = request_id or _current_id()
    report = FlushReport(reason, seconds, call.budget, results, request_id)
    if not report.ok:
        warn_of(report)
    return _ENGINE.tell(report)


def _current_id() -> str | None:
    value = CURRENT.get(NO_FRAME).get("request_id")
    return value if isinstance(value, str) else None


def drain() -> None:
    """Flush for the last time before the process ends, within the default budget.

    Runs by itself at shutdown once anything was flushed or :func:`prepare` was called.
    """
    switch.hurry()
    flush(reason=_LAST)


def prepare(*, holds: bool = False) -> None:
    """Look for sinks now, watch what becomes of their exports, and drain them at shutdown.

    A boundary calls this before its first request, so that what that request's SDKs export
    on their own, before the first flush, is accounted for too. Cheap, and safe to repeat.

    Args:
        holds: Whether responses will wait for a flush, so that it is worth pushing out what
            is finished while they are still being made.
    """
    if holds:
        _nudging.arm(_push)
    for lane in _ENGINE.lanes():
        lane.pending()


def _push() -> None:
    try:
        _ENGINE.push()
    except Exception:  # who recorded something must not hear of it
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.flushing").exception("ctxkit.flush.push_failed")


def _send_kept(name: str) -> None:
    for lane in _ENGINE.lanes():
        if lane.sink.name == name and not lane.running:
            # Whatever its breaker says: it has just taken something.
            lane.join(None, 0.0, 1, pushed=True)


switch.nudge_by(_send_kept)


def counters() -> dict[str, SinkCounters]:
    """Return what became of all flushes so far, by the name of the sink.

    Returns:
        A copy. Sinks that had nothing to do yet are in it, with zeros.
    """
    return {name: tally.snapshot() for name, tally in _ENGINE.tallies.items()}


def forgive() -> None:
    """Try every sink again: what its breaker knows was before a restore, somewhere else."""
    for lane in _ENGINE.lanes():
        lane.breaker.succeed()


def add_sink(sink: Sink) -> None:
    """Have ``sink`` flushed together with the ones that are found by themselves.

    Raises:
        ConfigurationError: It lacks a part of :class:`Sink`, or its name is taken.
    """
    _ENGINE.add(sink)


def remove_sink(sink: Sink) -> None:
    """Take off what :func:`add_sink` added; unknown sinks are ignored."""
    _ENGINE.remove(sink)


def sinks() -> tuple[Sink, ...]:
    """Return every sink that is flushed right now."""
    return tuple(lane.sink for lane in _ENGINE.lanes())


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


def _tell(listener: Callable[[FlushReport], object], report: FlushReport) -> None:
    try:
        listener(report)
    except Exception:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.flushing").exception("ctxkit.flush.listener_failed")
