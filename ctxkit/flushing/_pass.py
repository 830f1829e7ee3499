"""One run of a sink's flush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ctxkit.flushing.report import SinkOutcome, SinkStatus

if TYPE_CHECKING:
    from ctxkit.flushing._latch import Latch

# What a sink's answer stands for where it is no outcome of its own.
_ANSWERS: Final = {None: SinkOutcome(SinkStatus.UNVERIFIED), True: SinkOutcome(SinkStatus.OK)}


@final
class Pass:
    """One run of a sink's flush, and the callers that share it.

    Attributes:
        allowance: The most seconds that any of its callers waits; 0.0 if none does.
        before: The passes that ran when this one was asked for.
        begun: When it began, on the monotonic clock.
        blamed: Whether the breaker knows that somebody waited for it in vain.
        finished: When it ended.
        handed: Whether a thread has it.
        latches: Who waits for it.
        outcome: What its callers are told, which includes what the passes before it lost.
        own: How it ended by itself; None before that.
        pushed: Whether it began as a push, which nobody hears of.
        timeout: The most seconds that any of its callers has; 0.0 if none waits.
        waited: The longest that a caller waited in vain for it, in seconds.
    """

    __slots__ = (
        "allowance",
        "before",
        "begun",
        "blamed",
        "finished",
        "handed",
        "latches",
        "outcome",
        "own",
        "pushed",
        "timeout",
        "waited",
    )

    def __init__(self, before: tuple[Pass, ...], *, pushed: bool = False) -> None:
        self.allowance = 0.0
        self.before = before
        self.begun = 0.0
        self.blamed = False
        self.finished = 0.0
        self.handed = False
        self.latches: list[Latch] = []
        self.outcome: SinkOutcome | None = None
        self.own: SinkOutcome | None = None
        self.pushed = pushed
        self.timeout = 0.0
        self.waited = 0.0

    def judged(self, own: SinkOutcome) -> SinkOutcome:
        """Note how the pass ended; return what its callers are to be told."""
        before, self.before = self.before, ()
        self.own = own
        if own.status is not SinkStatus.ERROR:
            for earlier in before:
                # It may have taken, and lost, what the callers of this one were waiting for.
                if earlier.own is not None and earlier.own.status is SinkStatus.ERROR:
                    return earlier.own
        return own


def outcome_of(answer: object) -> SinkOutcome:
    """Return what a sink's answer says."""
    if isinstance(answer, SinkOutcome):
        return answer
    if answer is None or answer is True:
        return _ANSWERS[answer]
    return SinkOutcome(SinkStatus.ERROR, f"the sink answered {answer!r}")
