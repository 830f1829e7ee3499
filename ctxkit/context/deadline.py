"""Deadlines: the absolute end of the time allowed."""

from __future__ import annotations

from time import monotonic
from typing import final

from ctxkit.exceptions import DeadlineExceeded


@final
class Deadline:
    """Mark the moment at which work has to be over.

    A timeout is a number of seconds from now and shrinks as it is passed on; a deadline
    is a moment and does not. The clock is :func:`time.monotonic`: steps of the wall clock
    neither stretch nor cut it, and it keeps counting while the process is stopped.

    Args:
        at: The moment, on the clock of :func:`time.monotonic`, in seconds.
        owner: The function that it was set for; empty for what a host has set.
        timeout: The seconds it was set to; None where nobody knows.
    """

    __slots__ = ("at", "owner", "timeout")

    def __init__(self, at: float, owner: str = "", timeout: float | None = None) -> None:
        self.at: float = at
        self.owner: str = owner
        self.timeout: float | None = timeout

    @classmethod
    def after(cls, timeout: float, owner: str = "") -> Deadline:
        """Return the deadline ``timeout`` seconds from now."""
        return cls(monotonic() + timeout, owner, timeout)

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self.at - monotonic())

    def passed(self) -> bool:
        """Return whether it is over."""
        return monotonic() >= self.at

    def exceeded(self) -> DeadlineExceeded:
        """Return the error that says so."""
        return DeadlineExceeded(self.owner or "this request", self.timeout)

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"


def earlier(one: Deadline | None, other: Deadline | None) -> Deadline | None:
    """Return which of two deadlines comes first; None is never."""
    if one is None or other is None:
        return one or other
    return one if one.at <= other.at else other
