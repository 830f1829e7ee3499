"""Sinks for the tests of the flush engine."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeSink:
    """A sink whose flush does what ``work`` says; it keeps what it was asked."""

    def __init__(
        self, name: str = "fake", *, waiting: int | None = 1, work: Callable[[], Any] | None = None
    ) -> None:
        self.name = name
        self.waiting = waiting
        self.work = work or (lambda: True)
        self.timeouts: list[float] = []
        self.threads: list[int] = []

    def pending(self) -> int | None:
        return self.waiting

    def flush(self, timeout: float) -> Any:
        self.timeouts.append(timeout)
        self.threads.append(threading.get_ident())
        return self.work()


class BrokenSink(FakeSink):
    """A sink that loses everything until it is mended."""

    def __init__(self, name: str = "broken") -> None:
        super().__init__(name, work=lambda: self.mended)
        self.mended = False


class GatedSink(FakeSink):
    """A sink whose flush waits at a gate; ``entered`` counts those who came to it."""

    def __init__(self, name: str = "gated", *, waiting: int | None = 1) -> None:
        super().__init__(name, waiting=waiting, work=self._pass_gate)
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def _pass_gate(self) -> bool:
        self.entered.release()
        assert self.gate.acquire(timeout=20), "nobody opened the gate"
        return True


def wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """Return when ``condition`` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.002)
