"""One sink, the threads that flush it, and who waits for that."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import Context
from queue import SimpleQueue
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, cast, final

from ctxkit.flushing._alerts import warn_of_closing, warn_of_opening
from ctxkit.flushing._pass import Pass, outcome_of
from ctxkit.flushing.breaker import PROBE_WAIT, Breaker
from ctxkit.flushing.budget import DEFAULT_TIMEOUT
from ctxkit.flushing.report import SinkOutcome, SinkResult, SinkStatus
from ctxkit.flushing.sinks._watching import STIR
from ctxkit.flushing.sinks.opentelemetry import suppress_instrumentation
from ctxkit.flushing.spooling.switch import sink_keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing._counters import Tally
    from ctxkit.flushing._latch import Latch
    from ctxkit.flushing.protocol import Sink

#: The most passes of one sink that run at once, whatever it offers. With a window of a tenth
#: of a pass's duration, more would only help against passes that last ten times as long.
MOST_AT_ONCE: Final = 8

# A pass behind a running one waits for others to join it: this part of what a pass takes,
# but no longer than so many seconds.
_GATHERING_PART: Final = 0.1
_LONGEST_GATHERING: Final = 0.01
# What a pass takes, as long as none has told.
_FIRST_GUESS: Final = 0.05
_WEIGHT_OF_THE_LAST: Final = 0.25


@final
class Lane:
    """Carry out the passes of one sink, in threads of its own.

    Whoever arrives while a pass runs may have recorded something after that pass took its
    items, so it needs the next one; all who arrive meanwhile share that. The next one begins
    when the running one ends or, if the sink takes several at once, after the moment that
    others need to join. A pass that hangs keeps its thread and its place: while somebody has
    waited for it in vain no other begins, and later callers do not wait for it again.

    Args:
        sink: The sink.
        tally: Counts what becomes of its passes.
        on_loss: Told what a push lost, in the lane's thread.

    Attributes:
        ask: The sink's own ``pending()``.
        breaker: Whether the sink is tried.
        empty: What a report says of the sink when there is nothing to do.
        idents: The identifiers of the lane's threads.
        running: The passes that run right now, the oldest first.
        sink: The sink.
        stirred: Whether a pass runs, or lost what nobody was told of yet.
        tally: Counts what becomes of its passes.
    """

    __slots__ = (
        "_inbox",
        "_lock",
        "_on_loss",
        "_owed",
        "_queued",
        "_retired",
        "_threads",
        "_typical",
        "ask",
        "breaker",
        "empty",
        "idents",
        "running",
        "sink",
        "stirred",
        "tally",
    )

    def __init__(self, sink: Sink, tally: Tally, on_loss: Callable[[SinkResult], object]) -> None:
        self.sink = sink
        self.ask = sink.pending
        self.tally = tally
        self.breaker = tally.breaker = Breaker()
        self.empty = SinkResult(sink.name, SinkStatus.EMPTY, 0.0, 0, "")
        self.idents: set[int] = set()
        self.running: tuple[Pass, ...] = ()
        self.stirred = False
        # Reentrant: a signal handler may flush on the very thread that holds it.
        self._lock = threading.RLock()
        self._inbox: SimpleQueue[Pass | None] = SimpleQueue()
        self._on_loss = on_loss
        self._owed: SinkOutcome | None = None
        self._queued: Pass | None = None
        self._retired = False
        self._threads = 0
        self._typical = _FIRST_GUESS

    def pending(self) -> int | None:
        """Return what the sink says is pending; None if it fails to say."""
        try:
            return self.sink.pending()
        except Exception:  # noqa: BLE001 - a sink that cannot tell is flushed to be sure
            return None

    def at_once(self) -> int:
        """Return how many passes of the sink may run at once."""
        try:
            offered = getattr(self.sink, "concurrency", 1)
        except Exception:  # noqa: BLE001 - a sink that cannot tell takes one
            return 1
        return max(1, min(offered, MOST_AT_ONCE)) if isinstance(offered, int) else 1

    def allowance(self, budget: float, *, last: bool = False) -> float | None:
        """Return the seconds that a caller may wait here; None if it should not even try.

        Args:
            budget: What the caller has, in seconds.
            last: Whether there will be no other occasion.
        """
        with self._lock:
            # What others waited in vain for a pass is not waited for again.
            left = budget - max((each.waited for each in self.running), default=0.0)
            allowed = self.breaker.allowance(budget if left > 0 else 0.0, last=last)
            return allowed if allowed is None else max(0.0, min(left, allowed))

    def join(
        self,
        latch: Latch | None,
        allowance: float,
        pending: int | None,
        *,
        timeout: float = 0.0,
        pushed: bool = False,
    ) -> Pass:
        """Return the pass that covers everything recorded before this call.

        Args:
            latch: Told when the pass is over; None for who does not wait.
            allowance: The seconds that the caller is going to wait.
            pending: What :meth:`pending` said just now.
            timeout: The seconds for the sink, where that may take longer than the caller
                waits: else a slow one could never pass its probe.
            pushed: Whether nobody is to hear of it.
        """
        with self._lock:
            refusal = None
            if pending == 0 and self.running:
                # All that was recorded is already with the passes that run.
                due = self.running[-1]
            else:
                due = self._queued or Pass(self.running, pushed=pushed)
                self._queued = due
                refusal = self._dispatch()
            due.allowance = max(due.allowance, allowance)
            due.timeout = max(due.timeout, timeout, allowance)
            due.pushed = due.pushed and pushed
            if latch is not None:
                due.latches.append(latch)
            if refusal is not None and due.pushed:
                # Nothing is lost, and who recorded something must not do it in this thread.
                self._queued = refusal = None
        if refusal is not None:
            self._do_without_thread(due, refusal)
        return due

    def push(self, pending: int | None) -> None:
        """Begin a pass that nobody waits for, where that delays nobody.

        Its slot must not be the last one: who ends meanwhile needs one too.
        """
        with self._lock:
            busy = len(self.running) + (self._queued is not None)
            if self.breaker.failures or (busy and busy >= self.at_once() - 1):
                return
        self.join(None, 0.0, pending, pushed=True)

    def overrun(self, due: Pass, seconds: float) -> None:
        """Note that a caller has waited for ``due`` in vain.

        Args:
            due: What it waited for.
            seconds: How long.
        """
        with self._lock:
            if due.outcome is not None:
                return
            # Who waits behind a pass that hangs suffers from that one.
            suspects = [each for each in self.running if each is due or each in due.before]
            culprit = suspects[0] if suspects else due
            lost = max(0.0, seconds - culprit.waited)
            for each in suspects or [due]:
                each.waited = max(each.waited, seconds)
            opened = not culprit.blamed and self.breaker.fail(lost)
            if culprit.blamed:
                self.breaker.lose(lost)
            culprit.blamed = True
        if opened:
            warn_of_opening(self.sink.name, "it took too long")

    def leave(self, due: Pass, latch: Latch) -> None:
        """Take back a latch that nobody waits at any more."""
        with self._lock:
            if latch in due.latches:
                due.latches.remove(latch)

    def settle(self, due: Pass, latch: Latch) -> None:
        """Tell ``latch`` when the running pass ``due`` is over; at once if it is already."""
        with self._lock:
            if due.outcome is None:
                due.latches.append(latch)
                return
        latch.arrive()

    def retire(self) -> None:
        """Let the threads end after what they still have to do.

        Whoever has the lane already may still join: a thread is started for that pass alone.
        """
        with self._lock:
            self._retired = True
            self._dismiss()

    def _dismiss(self) -> None:
        for _ in range(self._threads):
            self._inbox.put(None)
        self._threads = 0

    def _dispatch(self) -> RuntimeError | None:
        """Hand the queued pass to a thread if it may run; return why there is none for it.

        Called with the lock held, whenever that may have changed.
        """
        due = self._queued
        if due is None or due.handed:
            return None
        if self.running and (
            len(self.running) >= self.at_once() or any(each.waited for each in self.running)
        ):
            return None
        refusal = None
        if self._threads <= len(self.running):
            refusal = self._start_thread()
        due.handed = True
        if refusal is not None and not self._threads:
            return refusal  # whoever is told does it
        self._inbox.put(due)
        if self._retired:
            self._dismiss()
        return None

    def _start_thread(self) -> RuntimeError | None:
        # Explicitly empty: free-threaded builds let a thread inherit its starter's context,
        # and this one must not keep the values of the first request.
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
        self._threads += 1
        return None

    def _do_without_thread(self, due: Pass, refusal: RuntimeError) -> None:
        # CPython 3.12 refuses new threads at exit. It is now or never then, in this thread.
        if "shutdown" in str(refusal):
            ident = threading.get_ident()
            self.idents.add(ident)
            try:
                Context().run(self._serve, due)
            finally:
                self.idents.discard(ident)
        else:
            self._finish(due, SinkOutcome(SinkStatus.ERROR, f"no thread for it: {refusal}"))

    def _work(self) -> None:
        ident = threading.get_ident()
        self.idents.add(ident)
        while (due := self._inbox.get()) is not None:
            if self.running:
                sleep(min(_GATHERING_PART * self._typical, _LONGEST_GATHERING))
            # A listener or a logging handler that raises SystemExit must not end the thread.
            with suppress(BaseException):
                self._serve(due)
        self.idents.discard(ident)

    def _serve(self, due: Pass) -> None:
        with self._lock:
            self._queued = None
            self.running += (due,)
            self.stirred = True
            STIR.mark = object()
            due.begun = monotonic()
        self._finish(due, self._carry_out(due))

    def _finish(self, due: Pass, own: SinkOutcome) -> None:
        outcome = due.judged(own)
        with self._lock:
            due.finished = monotonic()
            self.running = tuple(each for each in self.running if each is not due)
            self._queued = None if self._queued is due else self._queued
            if due.latches and self._owed is not None and outcome.status is not SinkStatus.ERROR:
                outcome = self._owed
            due.outcome = outcome
            latches = tuple(due.latches)
            lost = due.pushed and outcome.status is SinkStatus.ERROR
            self._owed = outcome if lost else None if latches else self._owed
            self.stirred = bool(self.running) or self._owed is not None
            opened, closed = self._weigh(due, own)
            refusal, queued = self._dispatch(), self._queued
        for latch in latches:
            latch.arrive()
        if lost:
            seconds = due.finished - due.begun
            self._on_loss(SinkResult(self.sink.name, outcome.status, seconds, None, outcome.detail))
        if opened:
            warn_of_opening(self.sink.name, own.detail)
        if closed:
            warn_of_closing(self.sink.name)
        if refusal is not None and queued is not None:
            self._do_without_thread(queued, refusal)

    def _weigh(self, due: Pass, own: SinkOutcome) -> tuple[bool, bool]:
        """Tell the breaker how a pass ended; return whether that has opened or closed it."""
        self.tally.passes += 1
        seconds = due.finished - due.begun
        lost = max(0.0, min(seconds, due.allowance) - due.waited)
        if own.status is SinkStatus.ERROR:
            # Told already by a caller in a hurry: it is one failure, not two.
            counted = due.blamed and due.waited < PROBE_WAIT
            return not counted and self.breaker.fail(lost), False
        if own.status is SinkStatus.TIMEOUT:
            return not due.blamed and self.breaker.fail(lost), False
        self._typical += (seconds - self._typical) * _WEIGHT_OF_THE_LAST
        return False, self.breaker.succeed()

    def _carry_out(self, due: Pass) -> SinkOutcome:
        try:
            suppress_instrumentation()
            # A sink that is given no time would not even begin; and no lock waits for ever.
            least: float = getattr(self.sink, "least_timeout", PROBE_WAIT)
            timeout = max(due.timeout or DEFAULT_TIMEOUT, least)
            begun = monotonic()
            outcome = outcome_of(
                cast("object", self.sink.flush(min(timeout, threading.TIMEOUT_MAX)))
            )
            keeper = sink_keeper(self.sink)
            if keeper is None:
                return outcome
            return keeper.follow_up(outcome, begun, due.allowance or DEFAULT_TIMEOUT)
        # A sink that raises SystemExit must end neither its thread nor, inline, its caller.
        except BaseException as error:  # noqa: BLE001
            return SinkOutcome(SinkStatus.ERROR, f"{type(error).__name__}: {error}")
