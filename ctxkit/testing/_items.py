"""What a sink received: one item per event, transaction, span, log record, data point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold one item as read from a request body, before it is acknowledged.

    Args:
        kind: ``sentry.event``, ``sentry.transaction``, ``sentry.log``, ``sentry.metric``,
            ``sentry.span``, ``sentry.session``, ``sentry.client_report``, ``otel.span``,
            ``otel.log``, ``otel.metric``; any other envelope item is ``sentry.<its type>``.
        name: What a person would call it: the exception, transaction, span or metric,
            the text of a log record.
        trace_id: 32 lower-case hex digits, or None if the item belongs to no trace.
        data: The item itself: Sentry's JSON, or a plain reading of the OTLP message.
    """

    kind: str
    name: str
    trace_id: str | None
    data: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Item(Reading):
    """Describe one item that a sink received and acknowledged.

    Args:
        kind: As in :class:`Reading`.
        name: As in :class:`Reading`.
        trace_id: As in :class:`Reading`.
        data: As in :class:`Reading`.
        arrived: When the request that carried it had been read whole, as ``time.time()``.
        acknowledged: When the answer to that request was sent, as ``time.time()``.
    """

    arrived: float
    acknowledged: float
