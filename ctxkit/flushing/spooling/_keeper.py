"""What one sink could not send: kept when that is known, sent again when the sink is well."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol

from ctxkit.flushing.report import SinkOutcome, SinkStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ctxkit.flushing.sinks._watching import Ledger
    from ctxkit.flushing.spooling._files import Spool

# Without news: when to look again for files that other processes left.
_LOOK_AGAIN: Final = 60.0  # seconds
# After a failure: when to try again though nothing else was sent meanwhile. Then twice that.
_FIRST_REST: Final = 5.0  # seconds
_LONGEST_REST: Final = 300.0  # seconds
# A pass begins no further file after this time: a response may be waiting for it.
_PASS: Final = 0.25  # seconds
_SHARE: Final = 0.8  # of what is left of a pass's time, for one request
_MOST_A_PASS: Final = 64
_WELL: Final = (SinkStatus.OK, SinkStatus.UNVERIFIED)


class Delivery(Enum):
    """Say what became of something that was sent."""

    SENT = "sent"
    LATER = "later"  #: No answer, or one that asks to come again.
    FAILED = "failed"  #: The sink answered with an error of its own.
    REFUSED = "refused"  #: The sink will never take it.
    HELD_BACK = "held back"  #: The SDK did not try, since the sink had asked it to rest.
    UNDECIDED = "undecided"  #: Still under way; its end is taken care of.


class Destination(Protocol):
    """Stand for where files are sent.

    Attributes:
        key: What their names begin with.
    """

    @property
    def key(self) -> str:
        """What the names of its files begin with."""
        ...

    def deliver(self, name: str, data: bytes, seconds: float) -> Delivery:
        """Send the content of a file, within so many seconds."""
        ...


class Keeper:
    """Keep what one sink could not send, and send it later.

    Args:
        spool: Where it is kept.
        ledger: The sink's, which is told what is kept, and what is lost all the same.
        nudge: Begins a pass of the sink that nobody waits for.

    Safety:
        Used by the threads that send, the sink's own, and those that wait for it.
    """

    def __init__(self, spool: Spool, ledger: Ledger, nudge: Callable[[], None]) -> None:
        self.spool = spool
        self.ledger = ledger
        self._nudge = nudge
        self._nudged = 0.0
        self.unspooled: set[str] = set()
        self._told = threading.local()
        self._landed = False
        self._waiting = False
        self._hurried = False
        self._rest = _FIRST_REST
        self._next = 0.0
        self._failed = 0.0
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a forked child: what is under way is the parent's."""
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._replaying = threading.Lock()

    def due(self) -> bool:
        """Whether to look for files though the sink has nothing to send; costs nanoseconds."""
        return monotonic() >= self._next

    def hurry(self) -> None:
        """Have the next pass send what it can: there may be none after it."""
        self._hurried = True
        self._next = 0.0

    def note(self, reason: str) -> bool:
        """Take the reason why what this thread sends is lost; False if it sends nothing."""
        reasons: list[str] | None = getattr(self._told, "reasons", None)
        if reasons is None:
            return False
        reasons.append(reason)
        return True

    def attempt(
        self, owner: Any, method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        """Call ``method``, by which ``owner`` sends, and keep what it could not send."""
        return self._collect(self._begin, self._end, owner, method, args, named)

    def write_ahead(self) -> None:
        """Keep a copy of all that is on its way: the process may not live to see its end."""
        # No business of a sink that is in trouble.
        self._next = max(self._next, monotonic() + self._rest)
        with suppress(Exception):  # to keep is extra: whoever waited goes on
            self._copy()

    def follow_up(self, outcome: SinkOutcome, begun: float, timeout: float) -> SinkOutcome:
        """Send what was kept, when the sink took what it was just sent.

        Args:
            outcome: How its flush ended.
            begun: When it began, on the monotonic clock.
            timeout: The seconds it had from there.
        """
        healthy, self._landed = self._landed, False
        now = monotonic()
        seconds = begun + timeout - now
        # A failure that it tells of may be older, and only told now.
        well = outcome.status in _WELL or (
            outcome.status is SinkStatus.ERROR and self._failed < begun
        )
        if not well or seconds <= 0:
            return outcome
        if now < self._next and not (healthy and self._waiting):
            return outcome
        if not self._replaying.acquire(blocking=False):
            return outcome  # another pass is at it
        try:
            story = self._replay(now, seconds, healthy=healthy)
        finally:
            self._replaying.release()
        detail = "; ".join(filter(None, (outcome.detail, story)))
        return SinkOutcome(outcome.status, detail)

    def _copy(self) -> None:
        raise NotImplementedError

    def _begin(self, owner: Any, item: Any) -> None:
        raise NotImplementedError

    def _end(self, owner: Any, item: Any, reasons: list[str]) -> None:
        raise NotImplementedError

    def _destinations(self) -> Iterable[Destination]:
        raise NotImplementedError

    def _collect(  # noqa: PLR0913, PLR0917 - what happens before and after a call, and the call
        self,
        begin: Callable[[Any, Any], None],
        end: Callable[[Any, Any, list[str]], None],
        owner: Any,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        if os.getpid() != self._pid:  # forked by C code that runs no hooks: uWSGI
            self.reset()
        item = args[0] if args else next(iter(named.values()), None)
        before = getattr(self._told, "reasons", None)
        reasons: list[str] = []
        self._told.reasons = reasons
        ended = False
        try:
            with suppress(Exception):  # to keep is extra: the SDK's own way goes on
                begin(owner, item)
            result = method(*args, **named)
            ended = True
            return result
        finally:
            self._told.reasons = before
            if not ended and not reasons:
                reasons.append("interrupted")
            try:
                end(owner, item, reasons)
            except Exception as error:  # noqa: BLE001 - never into what the user does
                self.ledger.lose(f"not kept: {type(error).__name__}: {error}")

    def _keep(self, destination: str, data: bytes, reasons: Iterable[str]) -> None:
        """Keep ``data``, and tell so, or that it is lost."""
        if self.spool.keep(destination, data) is None:
            self._lost(reasons)
        else:
            self._kept(reasons)

    def _succeed(self) -> None:
        """Note that the sink took something: it may be ready for what is kept."""
        self._landed = True
        now = monotonic()
        # Where no response is held nobody flushes: it has to be done without being asked.
        if (self._waiting or now >= self._next) and now >= self._nudged:
            self._nudged = now + _FIRST_REST
            self._nudge()

    def _kept(self, reasons: Iterable[str]) -> None:
        self._waiting = True
        self._failed = monotonic()
        self._next = max(self._next, self._failed + self._rest)
        self.ledger.keep(", ".join(dict.fromkeys(reasons)))

    def _lost(self, reasons: Iterable[str]) -> None:
        self._failed = monotonic()
        for reason in dict.fromkeys(reasons):
            self.ledger.lose(reason)

    def _replay(self, now: float, seconds: float, *, healthy: bool) -> str:
        """Send what may be sent now, and tell how far that went."""
        hurried, self._hurried = self._hurried, False
        until = now + (seconds if hurried else min(seconds, _PASS))
        counts = dict.fromkeys(Delivery, 0)
        left = 0
        well = True
        for destination in self._destinations():
            names = self.spool.waiting(destination.key)
            left += len(names)
            for verdict in self._deliver(destination, names, now + seconds, healthy=healthy):
                counts[verdict] += 1
                well = verdict in (Delivery.SENT, Delivery.REFUSED)
                if not well or monotonic() >= until:
                    break
            if not well:
                break
        left -= counts[Delivery.SENT] + counts[Delivery.REFUSED]
        # None though there are some: the disk lets nobody have them, or others were quicker.
        self._plan(well=well and (not left or any(counts.values())), left=left)
        return _story(counts, left)

    def _deliver(
        self, destination: Destination, names: list[str], end: float, *, healthy: bool
    ) -> Iterator[Delivery]:
        for name, data in self.spool.claim(names[:_MOST_A_PASS]):
            seconds = max(0.05, (end - monotonic()) * _SHARE)
            verdict = Delivery.LATER  # where the thread itself is ended meanwhile
            try:
                verdict = destination.deliver(name, data, seconds)
            except Exception:  # noqa: BLE001 - whatever the SDK has become by now
                verdict = Delivery.FAILED
            finally:
                self._file(name, verdict, healthy=healthy)
            yield verdict

    def _file(self, name: str, verdict: Delivery, *, healthy: bool = False) -> None:
        if verdict is Delivery.SENT:
            self.spool.done(name)
        elif verdict is Delivery.REFUSED:
            self.spool.give_up(name)
        elif verdict is not Delivery.UNDECIDED:
            # An error counts against the file only where the sink takes others.
            self.spool.let_go(name, tried=healthy and verdict is Delivery.FAILED)

    def _plan(self, *, well: bool, left: int) -> None:
        """Decide when to look again."""
        now = monotonic()
        self._waiting = left > 0
        if not well:
            self._next = now + self._rest
            self._rest = min(self._rest * 2, _LONGEST_REST)
            return
        self._rest = _FIRST_REST
        self._next = now if left else now + _LOOK_AGAIN


def _story(counts: dict[Delivery, int], left: int) -> str:
    parts = (
        (counts[Delivery.SENT], "kept earlier and sent now"),
        (counts[Delivery.REFUSED], "kept earlier and refused now"),
        (left, "still kept"),
    )
    return ", ".join(f"{number} {what}" for number, what in parts if number)
