"""The spool, for tests: in a folder of the test's own, with the real SDKs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ctxkit.flushing import engine, spool_status, start_spooling, stop_spooling
from ctxkit.flushing.sinks import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ctxkit.flushing import FlushReport, SpoolStatus


@contextmanager
def spooling(folder: Path) -> Iterator[None]:
    """Spool there for the length of a test."""
    start_spooling(folder)
    try:
        yield
    finally:
        stop_spooling()


def status() -> SpoolStatus:
    """Return the status of the spool, which is on."""
    found = spool_status()
    assert found is not None
    return found


def rested() -> None:
    """Have the time go by after which a sink that failed is tried again."""
    for sink in discover():
        keeper = getattr(sink, "keeper", None)
        if keeper is not None:
            keeper._next = 0.0


def results(report: FlushReport) -> dict[str, str]:
    """Return what became of each sink, as one line."""
    return {each.sink: f"{each.status}: {each.detail}" for each in report.results}


def eventually(condition: Callable[[], object]) -> None:
    """Wait until that is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, status()
        time.sleep(0.01)


def last_flush() -> None:
    """Flush as at the end of the process."""
    engine.drain()
