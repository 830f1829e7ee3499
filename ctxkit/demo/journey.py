"""One request, followed through everything that worked for it: the pure part.

All of it is read from what a backend has received. What is not there, is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ctxkit.demo.verdict import Sent
    from ctxkit.testing import Item

_ATTEMPT = "ctxkit.attempt.failed"  # the event of an attempt that has failed, in the span of a call
_FAN = 3  # calls beside each other, at least
_OUTSIDE = 2  # transactions: Sentry has one of the request, one of what came after


class Where(StrEnum):
    """Say which thread a step belongs to."""

    VIEW = "view"
    """The thread of the view."""
    POOL = "pool"
    """Another one, while the client waited."""
    WORKER = "worker"
    """Another one, which went on after the response was complete."""


@dataclass(frozen=True, slots=True)
class Step:
    """Hold one span.

    Args:
        name: Its name.
        thread: The thread in which it began.
        where: What thread that is.
        parent: The id of its parent.
        branches: For itself and all above but the root, whether more children of the same
            parent follow.
        start: Seconds since the request was sent.
        end: Seconds since the request was sent.
        request_id: What it says about the request.
        error: The class of the error that it ended with.
        notes: The attempts in it that failed, in words.
    """

    name: str
    thread: str
    where: Where
    parent: str | None
    branches: tuple[bool, ...]
    start: float
    end: float
    request_id: str | None
    error: str | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Journey:
    """Hold one request, and all that has the trace that the client sent.

    Args:
        sent: The request.
        steps: Its spans, each below its parent.
        roots: How many of the spans are children of none of the others.
        continued: Whether the first of them is a child of the client's.
        records: Log records in the trace.
        identified: How many of those bear the id of the request.
        transactions: When the transactions of Sentry in the trace were over, in seconds since
            the request was sent.
    """

    sent: Sent
    steps: tuple[Step, ...]
    roots: int
    continued: bool
    records: int
    identified: int
    transactions: tuple[float, ...]

    @property
    def complete(self) -> float:
        """When the response was complete, in seconds since the request was sent."""
        return self.sent.times.latency

    def of(self, where: Where) -> list[Step]:
        """Return the steps in such threads."""
        return [step for step in self.steps if step.where is where]

    def fan(self) -> list[Step]:
        """Return the steps in the pool that are the most calls of one function by one caller."""
        calls = sorted(self.of(Where.POOL), key=_call)
        groups = [list(group) for _, group in groupby(calls, _call)]
        return max(groups, key=len) if groups else []

    def missing(self) -> list[str]:
        """Return what this request was to show and does not, in words."""
        return [words for words, is_there in self._parts() if not is_there]

    def _parts(self) -> Iterator[tuple[str, bool]]:
        view, fan, worker = self.of(Where.VIEW), self.fan(), self.of(Where.WORKER)
        yield "one root, which is a child of the client's span", self.roots == 1 and self.continued
        yield "the view, with the id of the request", self._knows(view)
        beside = any(a.start < b.end and b.start < a.end for a, b in combinations(fan, 2))
        threads = {step.thread for step in fan}
        yield f"{_FAN} calls beside each other", len(fan) >= _FAN and beside and len(threads) > 1
        yield "the id of the request in each of them", self._knows(fan, all_of_them=True)
        yield "one that was late and cancelled", any(step.error == "Cancelled" for step in fan)
        yield "an attempt that failed", any(step.notes for step in self.steps)
        yield "the worker, with the id of the request", self._knows(worker)
        yield "log records with the id of the request", 0 < self.records == self.identified
        after = [end for end in self.transactions if end > self.complete]
        enough = len(self.transactions) >= _OUTSIDE and bool(after)
        yield "Sentry's transactions of the view and of the worker", enough

    def _knows(self, steps: Sequence[Step], *, all_of_them: bool = False) -> bool:
        know = [step.request_id == self.sent.request_id for step in steps]
        return bool(know) and (all(know) if all_of_them else any(know))


def journey_of(sent: Sent, parent: str, items: Iterable[Item]) -> Journey:
    """Read what a request has produced.

    Args:
        sent: The request.
        parent: The id of the span that the client has named as the parent.
        items: What the backend has received.
    """
    mine = [item for item in items if item.trace_id == sent.trace_id]
    spans = [item.data | {"name": item.name} for item in mine if item.kind == "otel.span"]
    ids = {span["span_id"] for span in spans}
    roots = [span for span in spans if span["parent_span_id"] not in ids]
    records = [item for item in mine if item.kind == "otel.log"]
    told = [record.data["attributes"].get("request_id") for record in records]
    ends = (item.data["timestamp"] for item in mine if item.kind == "sentry.transaction")
    return Journey(
        sent=sent,
        steps=tuple(_steps(sent, spans, roots)),
        roots=len(roots),
        continued=[span["parent_span_id"] for span in roots[:1]] == [parent],
        records=len(records),
        identified=told.count(sent.request_id),
        transactions=tuple(sorted(_seconds(end) - sent.times.sent for end in ends)),
    )


def _steps(
    sent: Sent, spans: Sequence[Mapping[str, Any]], roots: Sequence[Mapping[str, Any]]
) -> Iterator[Step]:
    """Yield the spans, each below its parent, siblings in the order in which they began."""
    views = {_thread(span) for span in roots}
    late = {_thread(span) for span in spans if span["end"] > sent.times.complete}

    def where(span: Mapping[str, Any]) -> Where:
        thread = _thread(span)
        return Where.VIEW if thread in views else Where.WORKER if thread in late else Where.POOL

    def below(parents: Iterable[Mapping[str, Any]], above: tuple[bool, ...] | None) -> Any:
        children = sorted(parents, key=lambda span: span["start"])
        for span in children:
            branches = () if above is None else (*above, span is not children[-1])
            yield _step(sent, span, where(span), branches)
            inner = [each for each in spans if each["parent_span_id"] == span["span_id"]]
            yield from below(inner, branches)

    yield from below(roots, None)


def _step(sent: Sent, span: Mapping[str, Any], where: Where, branches: tuple[bool, ...]) -> Step:
    attributes = span["attributes"]
    return Step(
        name=span["name"],
        thread=_thread(span),
        where=where,
        parent=span["parent_span_id"],
        branches=branches,
        start=span["start"] - sent.times.sent,
        end=span["end"] - sent.times.sent,
        request_id=attributes.get("request_id"),
        error=_error(span),
        notes=tuple(_note(event) for event in span["events"] if event["name"] == _ATTEMPT),
    )


def _thread(span: Mapping[str, Any]) -> str:
    return str(span["attributes"].get("thread.name", "?"))


def _error(span: Mapping[str, Any]) -> str | None:
    named = [span["attributes"].get("error.type")]
    named += [event["attributes"].get("exception.type") for event in span["events"]]
    return next((_short(name) for name in named if name), None)


def _note(event: Mapping[str, Any]) -> str:
    attributes = event["attributes"]
    error, pause = _short(attributes["error.type"]), attributes.get("pause")
    return f"{error}, given up" if pause is None else f"{error}, again after {pause * 1000:.0f} ms"


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _call(step: Step) -> tuple[str, str]:
    return (step.parent or "", step.name)


def _seconds(moment: object) -> float:
    """Return a time of Sentry's, which is a number or as ISO 8601 writes it."""
    if isinstance(moment, int | float):
        return float(moment)
    from datetime import datetime  # noqa: PLC0415 - few come here

    return datetime.fromisoformat(str(moment)).timestamp()
