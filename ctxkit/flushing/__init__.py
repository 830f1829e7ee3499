"""The flushing room: what was recorded is acknowledged before the last byte leaves."""

from __future__ import annotations

from ctxkit.flushing.engine import (
    add_sink,
    aflush,
    drain,
    flush,
    on_report,
    prepare,
    remove_sink,
)
from ctxkit.flushing.protocol import Sink
from ctxkit.flushing.report import FlushReport, SinkOutcome, SinkResult, SinkStatus

__all__ = (
    "FlushReport",
    "Sink",
    "SinkOutcome",
    "SinkResult",
    "SinkStatus",
    "add_sink",
    "aflush",
    "drain",
    "flush",
    "on_report",
    "prepare",
    "remove_sink",
)
