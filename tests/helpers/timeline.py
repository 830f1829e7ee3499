"""One line of time for what a server sent and what a sink got, to compare their order."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ctxkit.flushing import add_sink, remove_sink

if TYPE_CHECKING:
    from collections.abc import Iterator


class RecordingSink:
    """A sink that always has something pending, and writes down when it was flushed."""

    name = "recording"

    def __init__(self, timeline: list[object]) -> None:
        self.timeline = timeline
        self.opened = threading.Event()
        self.opened.set()
        self.flushing = threading.Event()
        self.timeouts: list[float] = []

    def pending(self) -> int | None:
        return None

    def flush(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        self.flushing.set()
        if not self.opened.wait(10):
            raise TimeoutError("nobody opened the sink")
        self.timeline.append("flush")
        return True


@contextmanager
def recording_sink(timeline: list[object]) -> Iterator[RecordingSink]:
    sink = RecordingSink(timeline)
    add_sink(sink)
    try:
        yield sink
    finally:
        sink.opened.set()
        remove_sink(sink)
