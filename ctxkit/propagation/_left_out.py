"""Warnings about what did not cross a wire, no more than one a minute for each. Private."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_INTERVAL: Final = 60.0  # seconds

# Bounded: a fault is the name of a declared key, or of a header, and one of a few sentences.
_last: dict[tuple[str, str], float] = {}


def warn_of(event: str, faults: Iterable[str]) -> None:
    """Log, in one line, those faults that were not logged within the last minute."""
    now = monotonic()
    new: list[str] = []
    for fault in faults:
        if now - _last.get((event, fault), -_INTERVAL) >= _INTERVAL:
            _last[event, fault] = now
            new.append(fault)
    if new:
        import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

        logging.getLogger("ctxkit.propagation").warning("%s: %s", event, "; ".join(new))
