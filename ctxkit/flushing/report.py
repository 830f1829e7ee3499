"""What a flush did, told sink by sink."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class SinkStatus(StrEnum):
    """Say how a flush of one sink ended."""

    OK = "ok"  #: The sink took everything and acknowledged it.
    EMPTY = "empty"  #: There was nothing to send.
    UNVERIFIED = "unverified"  #: The flush came back, but nobody can tell with what result.
    TIMEOUT = "timeout"  #: The time was over first. The flush goes on in its own thread.
    IN_FLIGHT = "in_flight"  #: Begun, or still under way from earlier, and not waited for.
    ERROR = "error"  #: Something is known to be lost; ``detail`` says why.
    BREAKER = "breaker"  #: Not tried: the sink has failed before, and is given a rest.
    SKIPPED_DEADLINE = "skipped_deadline"  #: Begun, not waited for: the host leaves no time.


class SinkOutcome(NamedTuple):
    """Tell the engine how a sink's own flush ended; what :meth:`Sink.flush` returns.

    Attributes:
        status: How it ended.
        detail: Why, in one sentence, where there is something to say.
    """

    status: SinkStatus
    detail: str = ""


class SinkResult(NamedTuple):
    """Say how one sink fared in a flush.

    Attributes:
        sink: The sink's name: ``"sentry"``, ``"otel.traces"``, ``"otel.metrics"``,
            ``"otel.logs"``, or that of a sink of yours.
        status: How it ended.
        seconds: How long the caller waited for it, in seconds.
        pending: How many items waited when the flush began; None where nobody can tell.
        detail: One sentence on anything but success, else empty.
    """

    sink: str
    status: SinkStatus
    seconds: float
    pending: int | None
    detail: str

    def __str__(self) -> str:
        """Return the result as a part of a sentence."""
        text = f"{self.sink} {self.status}"
        if self.status is not SinkStatus.EMPTY:
            waiting = "?" if self.pending is None else self.pending
            text += f" after {self.seconds * 1000:.0f} ms ({waiting} pending)"
        return f"{text}: {self.detail}" if self.detail else text


# Where nothing is known to be lost, late or left.
_FINE: Final = frozenset((SinkStatus.OK, SinkStatus.EMPTY, SinkStatus.UNVERIFIED))


class FlushReport(NamedTuple):
    """Tell how a flush went.

    Attributes:
        reason: Who asked: ``"explicit"``, ``"response"``, ``"shutdown"``, ...; ``"push"`` for
            what was pushed out before anybody asked, told only where it failed.
        seconds: How long the flush held its caller, in seconds.
        budget: How long it was allowed to, in seconds.
        results: One entry for each sink that was found, in no particular order.
        request_id: The request at whose end it was, or in which it was asked for; None
            outside of any.
    """

    reason: str
    seconds: float
    budget: float
    results: tuple[SinkResult, ...]
    request_id: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is known to be lost, late, or not waited for."""
        return all(result.status in _FINE for result in self.results)

    def __str__(self) -> str:
        """Return the whole report in one line."""
        sinks = "; ".join(map(str, self.results)) or "no sinks"
        occasion = f"{self.reason} of {self.request_id}" if self.request_id else self.reason
        return f"flush ({occasion}) took {self.seconds * 1000:.0f} ms of {self.budget:g} s: {sinks}"
