"""Sentry: whatever the client holds that ``sentry_sdk.init`` made.

``sentry_sdk.flush()`` is not fit for the end of a request: it tells nobody whether anything
arrived, callers queue up behind one lock, it waits for an empty queue, which the events of
other threads keep from coming, and it takes a place in the queue and sends a report about
nothing. So a marker is put into the worker's queue instead: when its turn comes, everything
captured before it has been sent or is known to be lost. Where the SDK does not look as
expected, its own ``flush()`` is called and the outcome is reported as unverified.

Nothing here imports the SDK; its objects are taken as they are found.
"""

from __future__ import annotations

import sys
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, final

from ctxkit.flushing.report import SinkOutcome, SinkStatus
from ctxkit.flushing.sinks._watching import Ledger, tap

if TYPE_CHECKING:
    from collections.abc import Callable

NAME: Final = "sentry"
#: Where the client and its transport are to be found.
PATH: Final = ("sentry_sdk.scope", "_global_scope", "client", "transport")

_COMPONENTS = ("session_flusher", "log_batcher", "metrics_batcher", "span_batcher")
# What the components above keep their items in, under the names of all supported versions.
_BUFFERS = ("_span_buffer", "_buffer", "_log_buffer", "_metric_buffer")
_SESSION_BUFFERS = ("pending_sessions", "pending_aggregates")

# Losses that the transport only counts. What it was asked to drop (before_send, sampling) is
# none, and failed requests are told to on_dropped_event.
_COUNTED_LOSSES = frozenset({"ratelimit_backoff", "queue_overflow", "internal_sdk_error"})
_COUNTED_DROPS = frozenset({"self_rate_limits", "full_queue", "internal_sdk_error"})

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
        found = _found = SentrySink(client, transport)
    return found


@final
class SentrySink:
    """Flush one client of the Sentry SDK.

    Args:
        client: An active ``sentry_sdk.Client``.
        transport: The transport it has right now.
    """

    name: str = NAME

    def __init__(self, client: Any, transport: Any) -> None:
        self.client = client
        self.given_transport = transport
        # With debug on, the SDK hides its transport in one that prints.
        self._transport: Any = getattr(transport, "__dict__", {}).get("_inner", transport)
        self._worker: Any = getattr(self._transport, "_worker", None)
        self._loop: Any = getattr(self._transport, "loop", None)
        self._ledger = Ledger()
        self._dirty = True
        self._marker: threading.Event | None = None
        self._buffers = _buffers_of(client)
        self._queued = self._loop is None and _is_queue_worker(self._worker)
        self._told = self._watch()

    def pending(self) -> int | None:
        """Count envelopes in the worker's hands, and items not yet in any envelope."""
        buffers = self._buffers
        if buffers is None:
            return None
        try:
            if self._queued:
                count: int = self._worker._queue.unfinished_tasks  # noqa: SLF001 - no public count
            elif self._dirty:
                return None
            else:
                count = 0
            for holder, name in buffers:
                count += len(getattr(holder, name))
        except (AttributeError, TypeError):
            return None
        return count + 1 if self._ledger.losses else count

    def flush(self, timeout: float) -> SinkOutcome:
        """Push everything captured so far through the transport."""
        self._dirty = False
        if self._queued:
            outcome = self._push_marker(timeout)
        elif self._loop is not None and hasattr(self.client, "flush_async"):
            outcome = self._push_through_loop(timeout)
        else:
            outcome = self._push_blindly(timeout)
        if outcome.status is SinkStatus.TIMEOUT:
            self._dirty = True
        losses = self._ledger.settle()
        if losses:
            return SinkOutcome(SinkStatus.ERROR, f"lost: {losses}")
        if outcome.status is SinkStatus.OK and not self._told:
            return self._untold()
        return outcome

    def after_fork(self) -> None:
        """Give the child a queue of its own: the events in the old one are the parent's.

        Without this the child sends them again, and if one was being sent when the process
        forked, waits for it for ever. https://github.com/getsentry/sentry-python/issues/6164
        """
        self._marker = None
        if self._queued:
            worker = self._worker
            worker._queue = type(worker._queue)(worker._queue.maxsize)  # noqa: SLF001
            worker._lock = threading.Lock()  # noqa: SLF001
        sessions: Any = getattr(self.client, "session_flusher", None)
        if hasattr(sessions, "_aggregate_lock"):
            sessions._aggregate_lock = threading.Lock()  # noqa: SLF001
            sessions.pending_sessions = []
            sessions.pending_aggregates = {}

    def _push_marker(self, timeout: float) -> SinkOutcome:
        """Send a marker through the worker's queue, behind everything captured so far."""
        worker = self._worker
        deadline = monotonic() + timeout
        self._flush_components()
        # Never two at once: each takes a place in the queue of a sink that hangs.
        if self._marker is None or self._passed(self._marker, timeout):
            passed = threading.Event()

            def marker() -> None:
                _heal(worker)
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
        """Turn buffered logs, metrics, spans and sessions into envelopes."""
        together = getattr(self.client, "_flush_components", None)
        if together is not None:
            together()
            return
        for name in _COMPONENTS:
            component = getattr(self.client, name, None)
            if component is not None:
                component.flush()

    def _watch(self) -> bool:
        """Have losses told to the ledger; False if the transport gives no chance."""
        ledger, transport = self._ledger, self._transport
        if self._queued:
            # Swallowed otherwise, and told to nobody where it is not the network's fault.
            tap(transport, "_send_envelope", _around_send(ledger))
        elif not tap(transport, "capture_envelope", self._around_capture):
            self._buffers = None
        told = tap(transport, "record_lost_event", _around_loss(ledger, _COUNTED_LOSSES))
        return tap(transport, "on_dropped_event", _around_loss(ledger, None)) and told

    def _around_capture(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def capture_envelope(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            finally:
                self._dirty = True  # afterwards: a flush just before has not seen it

        return capture_envelope


def _around_loss(
    ledger: Ledger, counted: frozenset[str] | None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have the reasons in ``counted`` told; None for those that are not counted elsewhere."""

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def lose(reason: str, *args: Any, **named: Any) -> Any:
            if reason not in _COUNTED_DROPS if counted is None else reason in counted:
                ledger.lose(reason)
            return method(reason, *args, **named)

        return lose

    return around


def _around_send(ledger: Ledger) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def send_envelope(*args: Any, **named: Any) -> Any:
            try:
                return method(*args, **named)
            except Exception as error:
                ledger.lose(type(error).__name__)
                raise

        return send_envelope

    return around


def _is_queue_worker(worker: Any) -> bool:
    """Whether this is the worker whose queue a marker can pass through in order."""
    queue = getattr(worker, "_queue", None)
    return isinstance(getattr(queue, "unfinished_tasks", None), int) and all(
        hasattr(worker, name) for name in ("submit", "is_alive")
    )


def _buffers_of(client: Any) -> tuple[tuple[Any, str], ...] | None:
    """Return where the client keeps what is in no envelope yet; None if that is unclear."""
    components = [getattr(client, name, None) for name in _COMPONENTS]
    # Batchers that we do not know by name, of a later version.
    components += [other for other in getattr(client, "_batchers", ()) if other not in components]
    buffers: list[tuple[Any, str]] = []
    for component in components:
        if component is None:
            continue
        names = [name for name in _SESSION_BUFFERS if hasattr(component, name)]
        names = names or [name for name in _BUFFERS if hasattr(component, name)][:1]
        if not names:
            return None
        buffers += [(component, name) for name in names]
    return tuple(buffers)


def _heal(worker: Any) -> None:
    """Correct a count of unfinished tasks that was inherited across a fork.

    Called in the worker's thread by the marker, which is then the only task being worked
    on: uWSGI forks without running at-fork hooks, so :meth:`SentrySink.after_fork` did not.
    """
    queue = worker._queue  # noqa: SLF001
    if type(worker).__name__ == "BackgroundWorker" and hasattr(queue, "mutex"):
        with queue.mutex:
            queue.unfinished_tasks = min(queue.unfinished_tasks, queue.qsize() + 1)
