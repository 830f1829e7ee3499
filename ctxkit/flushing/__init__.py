"""The flushing room: what was recorded is acknowledged before the last byte leaves."""

from __future__ import annotations

from ctxkit.flushing._counters import SinkCounters
from ctxkit.flushing._nudging import nudge
from ctxkit.flushing._thawing import after_restore, before_snapshot, thawed
from ctxkit.flushing.breaker import BreakerState
from ctxkit.flushing.engine import (
    add_sink,
    aflush,
    counters,
    drain,
    flush,
    on_report,
    prepare,
    remove_sink,
)
from ctxkit.flushing.protocol import Sink
from ctxkit.flushing.report import FlushReport, SinkOutcome, SinkResult, SinkStatus
from ctxkit.flushing.sinks.calling import CallableSink
from ctxkit.flushing.sinks.handlers import LoggingSink
from ctxkit.flushing.spooling import SpoolStatus, spool_status, start_spooling, stop_spooling

__all__ = (
    "BreakerState",
    "CallableSink",
    "FlushReport",
    "LoggingSink",
    "Sink",
    "SinkCounters",
    "SinkOutcome",
    "SinkResult",
    "SinkStatus",
    "SpoolStatus",
    "add_sink",
    "aflush",
    "after_restore",
    "before_snapshot",
    "counters",
    "drain",
    "flush",
    "nudge",
    "on_report",
    "prepare",
    "remove_sink",
    "spool_status",
    "start_spooling",
    "stop_spooling",
    "thawed",
)
