"""Deadlines: the absolute end of the time allowed."""

from __future__ import annotations

from time import monotonic
from typing import final


@final
class Deadline:
    """Mark the moment at which work has to be over.

    A timeout is a number of seconds from now and shrinks as it is passed on; a deadline
    is a moment and does not. The clock is :func:`time.monotonic`: steps of the wall clock
    neither stretch nor cut it, and it keeps counting while the process is stopped.

    Args:
        at: The moment, on the clock of :func:`time.monotonic`, in seconds.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at: float = at

    @classmethod
    def after(cls, timeout: float) -> Deadline:
        """Return the deadline ``timeout`` seconds from now."""
        return cls(monotonic() + timeout)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at - monotonic())

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"
