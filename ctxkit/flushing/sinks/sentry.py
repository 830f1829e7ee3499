"""Sentry: whatever the client holds that ``sentry_sdk.init`` made.

``sentry_sdk.flush()`` is not fit for the end of a request: it tells nobody whether anything
arrived, callers queue up behind one lock, it waits for an empty queue, which the events of
other threads keep from coming, and it takes a place in the queue and sends a report about
nothing. So a marker is put into the worker's queue instead: when its turn comes, everything
captured before it has been sent or is known to be lost. Where the SDK does not look as
expected, its own ``flush()`` is called and the outcome is reported as unverified. The transport
of ``ctxkit.contrib.sentry`` knows by itself what it has sent, and is asked.

A client that a second ``sentry_sdk.init`` replaces is flushed along until it has sent what it
holds. Clients that are bound to a scope, other than the global one, are not known here.

Nothing here imports the SDK; its objects are taken as they are found.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.flushing.budget import DEFAULT_TIMEOUT
from ctxkit.flushing.report import SinkOutcome, SinkStatus
from ctxkit.flushing.sinks import _sentry_client as reading
from ctxkit.flushing.sinks._watching import STIR, Connected, Ledger, keeping, tap
from ctxkit.flushing.spooling import switch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.spooling._files import Spool
    from ctxkit.flushing.spooling._keeper import Keeper

NAME: Final = "sentry"
#: Where the client and its transport are to be found.
PATH: Final = ("sentry_sdk.scope", "_global_scope", "client", "transport")

_found: SentrySink | None = None


def find() -> SentrySink | None:
    """Return the sink of the client in charge, or None if Sentry is not loaded or not set up."""
    global _found  # noqa: PLW0603 - one per process, like the client itself
    scope = sys.modules.get("sentry_sdk.scope")
    if scope is None:
        return None
    client = getattr(getattr(scope, "_global_scope", None), "client", None)
    transport = getattr(client, "transport", None)
    if transport is None:
        return None
    found = _found
    if found is None or found.client is not client or found.given_transport is not transport:
        before = found if found is not None and found.has_left_something() else None
        found = _found = SentrySink(client, transport, before)
    return found


@final
class SentrySink(Connected):
    """Flush one client of the Sentry SDK.

    Args:
        client: An active ``sentry_sdk.Client``.
        transport: The transport it has right now.
        before: The sink of the client that was in charge before and has not sent everything.
    """

    name: str = NAME
    #: The seconds that a flush is given at least, however soon its callers leave: one that gives
    #: up early never learns that a slow sink is well.
    least_timeout: float = DEFAULT_TIMEOUT

    def __init__(self, client: Any, transport: Any, before: SentrySink | None = None) -> None:
        self.client = client
        self.given_transport = transport
        # With debug on, the SDK hides its transport in one that prints.
        self._transport: Any = getattr(transport, "__dict__", {}).get("_inner", transport)
        self._worker: Any = getattr(self._transport, "_worker", None)
        self._loop: Any = getattr(self._transport, "loop", None)
        self._ledger = Ledger()
        self._dirty = True
        self._marker: threading.Event | None = None
        self._buffers = reading.buffers_of(client)
        self._marked = reading.tells_marks(self._worker)
        self._queued = self._loop is None and reading.is_queue_worker(self._worker)
        self._components_lock = threading.Lock()
        self._before = before
        self._told = self._watch()
        #: How many flushes may run at once.
        self.concurrency: int = getattr(self._worker, "concurrency", 1) if self._marked else 1
        self._tells = (
            self._queued and not self._marked and reading.watch_entrances(client, self._worker)
        )
        if self.concurrency > 1:
            reading.nudge_on_records(client)

        self.keeper: Keeper | None = None
        switch.attach(self)

    def has_left_something(self) -> bool:
        """Whether a client that is not in charge any more is still to be flushed."""
        worker = self._worker
        open_ = getattr(self.client, "transport", None) is not None
        return open_ and getattr(worker, "is_alive", False) and self.pending() != 0

    def pending(self) -> int | None:
        """Count envelopes in the worker's hands, and items not yet in any envelope."""
        buffers = self._buffers
        if buffers is None:
            return None
        try:
            count: int
            if self._queued:
                count = self._worker._queue.unfinished_tasks  # noqa: SLF001 - no public count
            elif self._marked:
                count = self._worker.unfinished
            elif self._dirty:
                return None
            else:
                count = 0
            for holder, name in buffers:
                count += len(getattr(holder, name))
        except (AttributeError, TypeError):
            return None
        if self._before is not None:
            left = self._before.pending()
            if left is None:
                return None
            count += left
        due = self.keeper is not None and self.keeper.due()
        return count + 1 if self._ledger.losses or due else count

    @property
    def tells(self) -> bool:
        """Whether nothing becomes pending without ``STIR`` being told."""
        known = self._buffers is not None and self._before is None
        return self._tells and known and self.keeper is None

    def flush(self, timeout: float) -> SinkOutcome:
        """Push everything captured so far through the transport.

        Safety:
            As many calls as :attr:`concurrency` says may run at once. What is lost while one of
            them runs, that one tells of.
        """
        begun, started = self._ledger.begin(), monotonic()
        self._dirty = False
        if self._marked:
            outcome = self._wait_for_mark(timeout)
        elif self._queued:
            outcome = self._push_marker(timeout)
        elif self._loop is not None and hasattr(self.client, "flush_async"):
            outcome = self._push_through_loop(timeout)
        else:
            outcome = self._push_blindly(timeout)
        if outcome.status is SinkStatus.TIMEOUT:
            self._dirty = True
        losses = self._ledger.settle(begun)
        if losses:
            outcome = SinkOutcome(SinkStatus.ERROR, losses)
        elif outcome.status is SinkStatus.OK and not self._told:
            outcome = self._untold()
        return self._flush_before(outcome, timeout - (monotonic() - started))

    def _flush_before(self, outcome: SinkOutcome, timeout: float) -> SinkOutcome:
        """Flush the client that was in charge before; once, and no more if that takes too long."""
        before, self._before = self._before, None
        if before is None or before.pending() == 0:
            return outcome
        left = before.flush(max(0.0, timeout))
        if outcome.status is SinkStatus.OK and left.status is not SinkStatus.OK:
            return SinkOutcome(left.status, f"the client before: {left.detail}")
        return outcome

    def drop_connections(self) -> None:
        """Close what is kept open to the backend."""
        reading.drop_connections(self._transport)

    def after_fork(self) -> None:
        """Give the child a queue of its own: the events in the old one are the parent's.

        Without this the child sends them again, and if one was being sent when the process
        forked, waits for it for ever. https://github.com/getsentry/sentry-python/issues/6164
        """
        self._ledger.forget()
        self._marker = None
        self._before = None
        self._components_lock = threading.Lock()
        if self._queued:
            worker = self._worker
            worker._queue = type(worker._queue)(worker._queue.maxsize)  # noqa: SLF001
            worker._lock = threading.Lock()  # noqa: SLF001
        sessions: Any = getattr(self.client, "session_flusher", None)
        if hasattr(sessions, "_aggregate_lock"):
            sessions._aggregate_lock = threading.Lock()  # noqa: SLF001
            sessions.pending_sessions = []
            sessions.pending_aggregates = {}

    def keep_with(self, spool: Spool | None) -> None:
        """Keep there what could not be sent; None: no longer."""
        self.keeper = self._ledger.keeper = None
        if spool is not None and (self._queued or self._marked):
            from ctxkit.flushing.spooling._sentry import SentryKeeper  # noqa: PLC0415 - few ask

            nudge = switch.nudging(NAME)
            self.keeper = self._ledger.keeper = SentryKeeper(
                spool, self._ledger, nudge, self._transport, self._flush_components
            )
        STIR.mark = object()

    def _wait_for_mark(self, timeout: float) -> SinkOutcome:
        """Wait for everything captured so far to leave a transport that keeps count of it."""
        self._flush_components()
        if self._worker.wait(self._worker.mark(), timeout):
            return SinkOutcome(SinkStatus.OK)
        if self._worker.is_alive:
            return SinkOutcome(SinkStatus.TIMEOUT, "the SDK is still sending")
        return SinkOutcome(SinkStatus.ERROR, "the transport's senders are not running")

    def _push_marker(self, timeout: float) -> SinkOutcome:
        """Send a marker through the worker's queue, behind everything captured so far."""
        worker = self._worker
        deadline = monotonic() + timeout
        self._flush_components()
        # Never two at once: each takes a place in the queue of a sink that hangs.
        if self._marker is None or self._passed(self._marker, timeout):
            passed = threading.Event()

            def marker() -> None:
                reading.heal(worker)
                passed.set()

            while not worker.submit(marker):
                if monotonic() > deadline:
                    return SinkOutcome(SinkStatus.TIMEOUT, "the SDK's queue is full")
                sleep(0.02)  # one send makes room
            self._marker = passed
            # At exit it may be unable to start; then nothing will ever come out.
            if worker.is_alive and self._passed(passed, deadline - monotonic()):
                for _ in range(100):  # the worker ticks it off just after it has run
                    if not worker._queue.unfinished_tasks:  # noqa: SLF001
                        break
                    sleep(0)
                return SinkOutcome(SinkStatus.OK)
        if worker.is_alive:
            return SinkOutcome(SinkStatus.TIMEOUT, "the SDK is still sending")
        self._marker = None
        return SinkOutcome(SinkStatus.ERROR, "the SDK's worker is not running")

    def _passed(self, marker: threading.Event, timeout: float) -> bool:
        if marker.wait(max(0.0, timeout)):
            self._marker = None
            return True
        return False

    def _push_through_loop(self, timeout: float) -> SinkOutcome:
        """Flush a transport that lives on an event loop, from this thread."""
        # Loaded for sure: the loop is asyncio's.
        asyncio: Any = sys.modules["asyncio"]
        if not self._loop.is_running():
            return SinkOutcome(SinkStatus.ERROR, "the transport's event loop is not running")
        flushing = asyncio.run_coroutine_threadsafe(self.client.flush_async(timeout), self._loop)
        try:
            flushing.result(timeout)
        except TimeoutError:
            flushing.cancel()
            return SinkOutcome(SinkStatus.TIMEOUT, "the transport's event loop is busy")
        if getattr(getattr(self._worker, "_queue", None), "_unfinished_tasks", None):
            return SinkOutcome(SinkStatus.TIMEOUT, "the SDK is still sending")
        return SinkOutcome(SinkStatus.OK)

    def _push_blindly(self, timeout: float) -> SinkOutcome:
        """Have the SDK flush itself, which says nothing about the outcome."""
        begun = monotonic()
        self.client.flush(timeout=timeout)
        if 0 < timeout <= monotonic() - begun:
            return SinkOutcome(SinkStatus.TIMEOUT, "the SDK's own flush used up its time")
        return self._untold()

    def _untold(self) -> SinkOutcome:
        kind = type(self._transport).__name__
        return SinkOutcome(SinkStatus.UNVERIFIED, f"{kind} does not tell what became of it")

    def _flush_components(self) -> None:
        # One at a time: the second finds the buffers empty, and its mark must come after what
        # the first has taken out of them.
        with self._components_lock:
            reading.flush_components(self.client)

    def _watch(self) -> bool:
        """Have losses told to the ledger; False if the transport gives no chance."""
        ledger, transport = self._ledger, self._transport
        if self._queued or self._marked:
            around = keeping(ledger, transport, reading.around_send(ledger))
            tap(transport, "_send_envelope", around)
        elif not tap(transport, "capture_envelope", self._around_capture):
            self._buffers = None
        counted = reading.around_loss(ledger, reading.COUNTED_LOSSES)
        told = tap(transport, "record_lost_event", counted)
        return tap(transport, "on_dropped_event", reading.around_loss(ledger, None)) and told

    def _around_capture(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def capture_envelope(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            finally:
                self._dirty = True  # afterwards: a flush just before has not seen it

        return capture_envelope
