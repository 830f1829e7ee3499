"""How long 16 requests that end together are held by a sink that takes 50 ms."""

from __future__ import annotations

from statistics import median
from threading import Barrier, Thread
from time import perf_counter, sleep

from measuring import Row

import ctxkit
from ctxkit.flushing import add_sink, remove_sink

ROUND_TRIP = 0.05  # seconds
REQUESTS = 16


class _Sink:
    """Acknowledges what was recorded when its flush began, a round trip later."""

    def __init__(self, name: str, concurrency: int) -> None:
        self.name = name
        self.concurrency = concurrency
        self.recorded = self.landed = 0

    def pending(self) -> int:
        return self.recorded - self.landed

    def flush(self, timeout: float) -> bool:
        taken = self.recorded
        sleep(ROUND_TRIP)
        self.landed = max(self.landed, taken)
        return True


def measure(rounds: int) -> list[Row]:
    """Let them end together, beside a sink that takes one flush at a time and one that takes 8."""
    table = f"{REQUESTS} requests end together, a round trip takes 50 ms"
    rows = [Row(table, "one round trip", ROUND_TRIP, ratio=1.0)]
    for concurrency in (8, 1):
        sink = _Sink(f"takes {concurrency} at once", concurrency)
        add_sink(sink)
        try:
            seconds = median(_slowest(sink) for _ in range(max(5, rounds // 5)))
        finally:
            remove_sink(sink)
        rows.append(Row(table, f"a sink that {sink.name}", seconds, ratio=seconds / ROUND_TRIP))
    return rows


def _slowest(sink: _Sink) -> float:
    """Return the time until the last of them is out."""
    together = Barrier(REQUESTS + 1)
    ended: list[float] = []

    def request() -> None:
        sink.recorded += 1
        together.wait()
        report = ctxkit.flush(10)
        ended.append(perf_counter())
        assert report.ok, report

    threads = [Thread(target=request) for _ in range(REQUESTS)]
    for thread in threads:
        thread.start()
    together.wait()
    started = perf_counter()
    for thread in threads:
        thread.join()
    sink.landed = sink.recorded
    return max(ended) - started
