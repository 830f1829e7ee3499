"""Warnings about flushes that went wrong, no more than one a minute for each sink."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from ctxkit.flushing.report import SinkStatus

if TYPE_CHECKING:
    from ctxkit.flushing.report import FlushReport

_INTERVAL: Final = 60.0  # seconds

_last: dict[tuple[str, SinkStatus], float] = {}


def warn_of(report: FlushReport) -> None:
    """Log ``ctxkit.flush.timeout`` and ``ctxkit.flush.error`` for what the report holds."""
    now = monotonic()
    for result in report.results:
        if result.status not in (SinkStatus.TIMEOUT, SinkStatus.ERROR):
            continue
        what = (result.sink, result.status)
        if now - _last.get(what, -_INTERVAL) < _INTERVAL:
            continue
        _last[what] = now
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.flushing").warning(
            "ctxkit.flush.%s: %s (%s, budget %g s)",
            result.status.value,
            result,
            report.reason,
            report.budget,
        )
