"""One sink, the thread that flushes it, and who waits for that."""

from __future__ import annotations

import threading
from contextvars import Context
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, final

from ctxkit.flushing.budget import DEFAULT_TIMEOUT
from ctxkit.flushing.report import SinkOutcome, SinkResult, SinkStatus
from ctxkit.flushing.sinks.opentelemetry import suppress_instrumentation

if TYPE_CHECKING:
    from ctxkit.flushing._latch import Latch
    from ctxkit.flushing.protocol import Sink


@final
class Pass:
    """One run of a sink's flush, and the callers that share it.

    Attributes:
        allowance: The most seconds that any of its callers waits; 0.0 if none does.
        own: How it ended by itself; None before that.
        outcome: What its callers are told, which includes what the pass before it lost.
        finished: When it ended, on the monotonic clock.
        before: The pass that ran when this one was asked for.
    """

    __slots__ = ("allowance", "before", "finished", "latches", "outcome", "own")

    def __init__(self, before: Pass | None) -> None:
        self.before = before
        self.allowance = 0.0
        self.own: SinkOutcome | None = None
        self.outcome: SinkOutcome | None = None
        self.finished = 0.0
        self.latches: list[Latch] = []


@final
class Lane:
    """Carry out the passes of one sink, one at a time, in a thread of its own.

    At most one pass runs and at most one is queued behind it. Whoever arrives while a pass
    runs may have recorded something after that pass took its items, so it needs the next
    one; all who arrive meanwhile share that. A pass that hangs keeps the thread and its
    place: later callers queue behind it within their own budgets, and no second thread is
    ever started for it.

    Attributes:
        sink: The sink.
        empty: What a report says of it when there is nothing to do.
        running: The pass that runs right now, if any.
    """

    __slots__ = ("_inbox", "_lock", "_queued", "_thread", "empty", "running", "sink")

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.empty = SinkResult(sink.name, SinkStatus.EMPTY, 0.0, 0, "")
        # Reentrant: a signal handler may flush on the very thread that holds it.
        self._lock = threading.RLock()
        self._inbox: SimpleQueue[Pass | None] = SimpleQueue()
        self.running: Pass | None = None
        self._queued: Pass | None = None
        self._thread: threading.Thread | None = None

    @property
    def ident(self) -> int | None:
        """The identifier of the lane's thread, or None before it was needed."""
        return None if self._thread is None else self._thread.ident

    def pending(self) -> int | None:
        """Return what the sink says is pending; None if it fails to say."""
        try:
            return self.sink.pending()
        except Exception:  # noqa: BLE001 - a sink that cannot tell is flushed to be sure
            return None

    def join(self, latch: Latch, allowance: float, pending: int | None) -> Pass:
        """Return the pass that covers everything recorded before this call.

        Args:
            latch: Told when the pass is over.
            allowance: The seconds that the caller is going to wait.
            pending: What :meth:`pending` said just now.
        """
        with self._lock:
            running = self.running
            if pending == 0 and running is not None:
                # All that was recorded is already with the pass that runs.
                running.latches.append(latch)
                return running
            due = self._queued
            refusal = None
            if due is None:
                due = self._queued = Pass(running)
                refusal = self._hand_over(due)
            due.allowance = max(due.allowance, allowance)
            due.latches.append(latch)
        if refusal is not None:
            self._do_without_thread(due, refusal)
        return due

    def leave(self, due: Pass, latch: Latch) -> None:
        """Take back a latch that nobody waits at any more."""
        with self._lock:
            if latch in due.latches:
                due.latches.remove(latch)

    def settle(self, latch: Latch) -> None:
        """Tell ``latch`` when the running pass is over; at once if there is none."""
        with self._lock:
            running = self.running
            if running is not None:
                running.latches.append(latch)
                return
        latch.arrive()

    def retire(self) -> None:
        """Let the thread end after what it still has to do."""
        self._inbox.put(None)

    def _hand_over(self, due: Pass) -> RuntimeError | None:
        """Give the pass to the thread; return why where none can be started."""
        if self._thread is None:
            # Explicitly empty: free-threaded builds let a thread inherit its starter's
            # context, and this one must not keep the values of the first request.
            thread = threading.Thread(
                target=Context().run,
                args=(self._work,),
                name=f"ctxkit.flush.{self.sink.name}",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError as error:
                return error
            self._thread = thread
        self._inbox.put(due)
        return None

    def _do_without_thread(self, due: Pass, refusal: RuntimeError) -> None:
        # CPython 3.12 refuses new threads at exit. It is now or never then, in this thread.
        if "shutdown" in str(refusal):
            Context().run(self._serve, due)
        else:
            self._finish(due, SinkOutcome(SinkStatus.ERROR, f"no thread for it: {refusal}"))

    def _work(self) -> None:
        while (due := self._inbox.get()) is not None:
            self._serve(due)

    def _serve(self, due: Pass) -> None:
        with self._lock:
            self._queued = None
            self.running = due
        self._finish(due, self._carry_out(due.allowance))

    def _finish(self, due: Pass, outcome: SinkOutcome) -> None:
        before, due.before = due.before, None
        earlier = None if before is None else before.own
        due.own = outcome
        if earlier is not None and earlier.status is SinkStatus.ERROR:
            # It may have taken, and lost, what the callers of this one were waiting for.
            outcome = earlier if outcome.status is not SinkStatus.ERROR else outcome
        with self._lock:
            due.outcome = outcome
            due.finished = monotonic()
            self._queued = None if self._queued is due else self._queued
            self.running = None
            latches = tuple(due.latches)
        for latch in latches:
            latch.arrive()

    def _carry_out(self, allowance: float) -> SinkOutcome:
        try:
            suppress_instrumentation()
            # A sink that is given no time would not even begin; and no lock waits for ever.
            timeout = min(allowance or DEFAULT_TIMEOUT, threading.TIMEOUT_MAX)
            return _outcome(self.sink.flush(timeout))
        # A sink that raises SystemExit must end neither its thread nor, inline, its caller.
        except BaseException as error:  # noqa: BLE001
            return SinkOutcome(SinkStatus.ERROR, f"{type(error).__name__}: {error}")


def _outcome(answer: object) -> SinkOutcome:
    """Return what a sink's answer says."""
    if isinstance(answer, SinkOutcome):
        return answer
    if answer is None:
        return SinkOutcome(SinkStatus.UNVERIFIED)
    if answer is True:
        return SinkOutcome(SinkStatus.OK)
    return SinkOutcome(SinkStatus.ERROR, f"the sink answered {answer!r}")
