"""What is logged of flushes that went wrong: a line a minute for each sink and event at most."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

from ctxkit.flushing.breaker import REST
from ctxkit.flushing.report import SinkStatus

if TYPE_CHECKING:
    from ctxkit.flushing.report import FlushReport

_INTERVAL: Final = 60.0  # seconds
_GRAVE: Final = frozenset((SinkStatus.TIMEOUT, SinkStatus.ERROR, SinkStatus.SKIPPED_DEADLINE))

# Sinks that come and go under ever new names must not fill the memory.
_MOST: Final = 500

_last: dict[tuple[str, str], float] = {}


def warn_of(report: FlushReport) -> None:
    """Log ``ctxkit.flush.timeout``, ``.error`` or ``.skipped_deadline`` for what it holds."""
    for result in report.results:
        if result.status in _GRAVE and _is_due(result.sink, result.status):
            _warn(
                "ctxkit.flush.%s: %s (%s, budget %g s)",
                result.status.value,
                result,
                report.reason,
                report.budget,
            )


def warn_of_opening(sink: str, why: str) -> None:
    """Log ``ctxkit.flush.breaker_open``: nobody waits for the sink for a while."""
    if _is_due(sink, "breaker_open"):
        _warn("ctxkit.flush.breaker_open: %s is not waited for during %g s: %s", sink, REST, why)


def warn_of_closing(sink: str) -> None:
    """Log ``ctxkit.flush.breaker_closed``: the sink works again."""
    if _is_due(sink, "breaker_closed"):
        _warn("ctxkit.flush.breaker_closed: %s works again", sink)


def _is_due(sink: str, kind: str) -> bool:
    now = monotonic()
    if now - _last.get((sink, kind), -_INTERVAL) < _INTERVAL:
        return False
    if len(_last) >= _MOST:
        _last.clear()
    _last[sink, kind] = now
    return True


def _warn(message: str, *details: object) -> None:
    import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

    # A filter of the user's may raise: no business of whoever flushed.
    with suppress(Exception):
        logging.getLogger("ctxkit.flushing").warning(message, *details)
