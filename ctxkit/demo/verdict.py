"""What became of each item: the pure part of the demo."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ctxkit.demo.lanes import Lane
    from ctxkit.testing import Item, Times

# Bookkeeping of the SDK, which belongs to no request.
_NOT_COUNTED = frozenset({"sentry.session", "sentry.client_report"})
_HALF = 0.5


class Outcome(StrEnum):
    """Say what became of an item that a request produced."""

    LANDED = "landed"
    """Acknowledged before the response was complete; in extension mode, before the freeze."""
    LATE = "late"
    """Acknowledged after that: on the wire when the freeze came, or sent at the next thaw."""
    LOST = "lost"
    """Never acknowledged."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Hold one expected item and what became of it.

    Args:
        kind: As of :class:`ctxkit.testing.Item`.
        name: As of :class:`ctxkit.testing.Item`.
        outcome: What became of it.
        acknowledged: When the backend had it, as ``time.time()``; None if lost.
    """

    kind: str
    name: str
    outcome: Outcome
    acknowledged: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Hold one stretch of time in the server process, told by the witness within it.

    Args:
        what: ``server`` (the server span), ``span`` (any other) or ``flush``.
        name: The name of the span; of a flush, its sinks.
        start: As ``time.time()``.
        end: As ``time.time()``.
        trace_id: 32 hex digits; None for a flush.
    """

    what: str
    name: str
    start: float
    end: float
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    """Hold one request that the demo sent, and when what happened to it.

    Args:
        path: What was asked for.
        trace_id: What it told both SDKs, 32 hex digits.
        request_id: What it sent as ``X-Request-ID``.
        status: The status of the answer.
        times: When what happened.
    """

    path: str
    trace_id: str
    request_id: str
    status: int
    times: Times


@dataclass(frozen=True, slots=True)
class RequestReport:
    """Hold everything known about one request: fates and marks, in order of time."""

    sent: Sent
    fates: tuple[Fate, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class LaneReport:
    """Hold everything known about one lane."""

    lane: Lane
    requests: tuple[RequestReport, ...]

    def count(self, outcome: Outcome) -> int:
        """Return how many items of all requests had this outcome."""
        return sum(
            1 for request in self.requests for fate in request.fates if fate.outcome is outcome
        )

    @property
    def expected(self) -> int:
        """How many items all requests produced."""
        return sum(len(request.fates) for request in self.requests)

    @property
    def landed_share(self) -> float:
        """The share of items that landed, 0 to 1; 0 if none was expected."""
        return self.count(Outcome.LANDED) / self.expected if self.expected else 0.0

    @property
    def latency(self) -> float:
        """Seconds of the median response, the first (cold) left out if there are more."""
        warm = self.requests[1:] or self.requests
        return median(request.sent.times.latency for request in warm)


def items_of(sent: Sent, items: Iterable[Item]) -> list[Item]:
    """Return the items that belong to a request, each once, in order of acknowledgement.

    By trace id; a data point of a metric, which sums many traces, by an attribute that
    is the request id. A cumulative data point is sent anew with each export: its first
    arrival is what counts.
    """
    found: list[Item] = []
    points: set[str] = set()
    for item in sorted(items, key=lambda item: item.acknowledged):
        if item.kind in _NOT_COUNTED or not _belongs(item, sent):
            continue
        if item.kind == "otel.metric":
            point = json.dumps([item.name, item.data.get("attributes")], sort_keys=True)
            if point in points:
                continue
            points.add(point)
        found.append(item)
    return found


def _belongs(item: Item, sent: Sent) -> bool:
    if item.kind == "otel.metric":
        return sent.request_id in item.data.get("attributes", {}).values()
    return item.trace_id == sent.trace_id


def judge(
    expected: Sequence[tuple[str, str]], came: Sequence[Item], complete: float
) -> tuple[Fate, ...]:
    """Say what became of each expected item of one request.

    Args:
        expected: Kind and name of what the request produces.
        came: What came of it, from :func:`items_of`.
        complete: When its response was complete for the client.

    An item is matched by kind and name, or else by kind: names may hold what differs
    from run to run. What came beyond the expected is not counted.
    """
    left = list(came)
    matches: list[tuple[tuple[str, str], Item | None]] = []
    unmatched: list[tuple[str, str]] = []
    for kind, name in expected:
        item = next((item for item in left if (item.kind, item.name) == (kind, name)), None)
        if item is None:
            unmatched.append((kind, name))
            continue
        left.remove(item)
        matches.append(((kind, name), item))
    for kind, name in unmatched:
        item = next((item for item in left if item.kind == kind), None)
        if item is not None:
            left.remove(item)
        matches.append(((kind, name), item))
    fates = [_fate(kind, name, item, complete) for (kind, name), item in matches]
    return tuple(sorted(fates, key=lambda fate: (fate.acknowledged or float("inf"), fate.kind)))


def _fate(kind: str, name: str, item: Item | None, complete: float) -> Fate:
    if item is None:
        return Fate(kind, name, Outcome.LOST, None)
    landed = item.acknowledged <= complete
    return Fate(kind, name, Outcome.LANDED if landed else Outcome.LATE, item.acknowledged)


def proves_the_claim(lanes: Sequence[LaneReport]) -> bool:
    """Say whether everything landed with ctxkit, and less than half without it."""
    return bool(lanes) and all(map(_as_claimed, lanes))


def _as_claimed(lane: LaneReport) -> bool:
    share = lane.landed_share
    return share == 1 if lane.lane.with_ctxkit else lane.expected > 0 and share < _HALF


def telling_request(lanes: Sequence[LaneReport]) -> int:
    """Return the index of the request with the most different kinds of items, not the first."""
    requests = lanes[0].requests

    def variety(index: int) -> tuple[bool, int, int]:
        kinds = Counter(fate.kind for fate in requests[index].fates)
        return (index > 0, len(kinds), kinds.total())

    return max(range(len(requests)), key=variety)
