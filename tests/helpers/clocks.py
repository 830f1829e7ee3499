"""Clocks that stand still until they are set."""

from __future__ import annotations

from ctxkit.lifecycle._sentinel import Clocks


class FakeClocks:
    """Count seconds only when told to."""

    def __init__(self) -> None:
        self.monotonic = 1000.0
        self.wall = 1_800_000_000.0
        self.cpu = 5.0

    def as_clocks(self) -> Clocks:
        return Clocks(lambda: self.monotonic, lambda: self.wall, lambda: self.cpu)

    def idle(self, seconds: float, *, busy: float = 0.0) -> None:
        """Let time go by, for a share of which the process computes."""
        self.monotonic += seconds
        self.wall += seconds
        self.cpu += busy * seconds
