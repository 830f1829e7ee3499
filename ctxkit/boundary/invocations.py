"""What every boundary does: open a frame, run, settle what is left over, flush, close."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Final

from ctxkit.boundary.holding import IN_FLIGHT
from ctxkit.boundary.hosting import HOST
from ctxkit.context import Deadline, Frame
from ctxkit.context._children import Children
from ctxkit.context._current import CURRENT
from ctxkit.context.closing import close
from ctxkit.context.lifetime import OVER, lifetime_of
from ctxkit.flushing import flush, prepare
from ctxkit.flushing.budget import affordable, default_timeout
from ctxkit.flushing.engine import nothing_pending
from ctxkit.lifecycle._occasions import RESET
from ctxkit.lifecycle._survivors import may_have_survivors
from ctxkit.lifecycle.leftovers import settle
from ctxkit.lifecycle.phases import ENVIRONMENT
from ctxkit.propagation._tracing import TRACING

if TYPE_CHECKING:
    from ctxkit.boundary.options import BoundaryOptions
    from ctxkit.flushing import FlushReport

#: How an invocation ends whose client waits for nothing any more.
ABANDONED: Final = frozenset(("disconnect", "cancelled"))
#: The longest wait for its flush, in seconds.
ABANDONED_TIMEOUT: Final = 0.5

#: The part of the time at the end that leftovers may take; the rest is the flush's.
LEFTOVERS_SHARE: Final = 0.5

#: What a context holds after its request: tells a context that a server passes on from one
#: request to the next, and keeps nothing of the request alive.
CLOSED: Final = Frame({})
CLOSED.lifetime = OVER

#: Where an invocation runs that is over, or that has no context of its own. Never entered.
NOWHERE: Final = Context()


class Invocation:
    """Stand for one piece of work from its first step to its last, whatever it is.

    Whoever makes one has opened its frame, and calls :meth:`finish` when it has run, or
    awaits :func:`ctxkit.boundary._shielded.finish_shielded`: once, in whatever way it ended.

    Args:
        options: What was chosen at this boundary.
        frame: The frame that was opened; :data:`CLOSED` for none.
        context: Where it runs; :data:`NOWHERE` if that is no context of its own.
        deadline: When the host ends it; None where it does not.
        request_id: Its id; empty for what opened no frame.
        counts: Whether the environment was told that it has begun.

    Attributes:
        open: Whether it has not ended.
    """

    __slots__ = (
        "_counted",
        "_counts",
        "context",
        "deadline",
        "frame",
        "open",
        "options",
        "request_id",
    )

    def __init__(  # noqa: PLR0913 - for adapters alone
        self,
        options: BoundaryOptions,
        frame: Frame,
        context: Context,
        deadline: Deadline | None,
        request_id: str,
        *,
        counts: bool,
    ) -> None:
        self._counts = counts
        self.request_id: str = request_id
        self.options: BoundaryOptions = options
        self.frame: Frame = frame
        self.context: Context = context
        self.deadline: Deadline | None = deadline
        self.open: bool = True
        self._counted = False
        if not IN_FLIGHT.prepared or (options.holds and not IN_FLIGHT.pushing):
            get_ready(options)
        if options.settles:
            if options.watches and frame is not CLOSED:
                frame.children = Children()
            if options.counts:
                IN_FLIGHT.enter(None)
                self._counted = True

    def finish(self, reason: str) -> FlushReport | None:
        """Settle, flush and close. The last step of everything that crosses a boundary.

        Args:
            reason: How it ended: "response", "return", "exception", "disconnect",
                "cancelled" or "dropped". Who drops a response, the garbage collector even,
                must not wait.

        Returns:
            What came of the flush; None if there was nothing to do.
        """
        limit = report = None
        try:
            if self.frame.lifetime is not None:
                self.end_lifetime(self.budget(reason))
            if self.frame.children is not None and may_have_survivors(self):
                limit = Deadline.after(self.budget(reason))
                settle(self.frame, self.telling(), self.options.leftovers, share_of(limit))
        finally:
            try:
                if self.count_out() and not nothing_pending():
                    allowed = self.budget(reason, limit)
                    report = flush(allowed, reason=reason, request_id=self.request_id or None)
            finally:
                self.close()
        return report

    def count_out(self) -> bool:
        """Note that the response leaves; return whether telemetry must land before it does."""
        options = self.options
        due = options.holds
        if self._counted:
            self._counted = False
            due = IN_FLIGHT.leave()
        if due and HOST.takes_over is not None:
            due = not HOST.takes_over(options.timeout)
        return due

    def close(self) -> None:
        """Let go of what the invocation knew.

        The environ or scope holds this, and the frame may hold a request that holds those.
        """
        if self.frame.lifetime is not None:
            self.end_lifetime(self.budget("response"))
        if self._counted:  # settling was interrupted
            self.count_out()
        children = self.frame.children
        if children is not None:
            children.ended = True
        try:
            if self.open:
                self.open = False  # first: what is called below may raise, or end this once more
                if TRACING.on:
                    self.trace_closing()
                if self._counts and (ENVIRONMENT.cold or RESET.hooks):
                    ENVIRONMENT.ended()
        finally:
            self.frame.lifetime = OVER
            self.frame = CLOSED
            self.context = NOWHERE

    def end_lifetime(self, seconds: float) -> None:
        """End what functions have started in it, and run what was deferred; once.

        Args:
            seconds: The longest to wait for what was started.
        """
        lifetime = lifetime_of(self.frame)
        if not lifetime.over:
            self.telling().run(close, self.frame, lifetime, failed=True, seconds=seconds)

    async def aend_lifetime(self) -> None:
        """Do the same without blocking the loop, where that is asyncio's."""
        from ctxkit.boundary._shielded import end_lifetime_shielded  # noqa: PLC0415 - brings asyncio
        from ctxkit.context._awaiting import asyncio_runs  # noqa: PLC0415 - as above

        if not lifetime_of(self.frame).over and asyncio_runs():
            interruption = await end_lifetime_shielded(self, self.budget("response"))
            if interruption is not None:
                raise interruption

    def trace_closing(self) -> None:
        """Tell those who watch for leaks, if they were told of the opening."""

    def leave(self) -> None:
        """End it here and now: nothing is settled, nothing flushed."""
        self.close()

    def telling(self) -> Context:
        """Return a context to tell of the invocation in."""
        context = copy_context() if self.context is NOWHERE else self.context.copy()
        if self.frame is not CLOSED:
            context.run(CURRENT.set, self.frame)
        return context

    def budget(self, reason: str, limit: Deadline | None = None) -> float:
        """Return the seconds that the end may take: the user's, or what the host leaves.

        Below zero where it is the host that leaves none.

        Args:
            reason: How it ended.
            limit: When the end has to be over that has begun already.
        """
        if reason == "dropped":
            return 0.0
        allowed = budget(self.options.timeout, self.deadline)
        if limit is not None:
            allowed = min(allowed, limit.remaining())
        return min(allowed, ABANDONED_TIMEOUT) if reason in ABANDONED else allowed


def share_of(limit: Deadline) -> float:
    """Return the seconds that leftovers may take of those until ``limit``."""
    return LEFTOVERS_SHARE * limit.remaining()


def get_ready(options: BoundaryOptions) -> None:
    """Get this process ready for its first invocation, and for its first that is held."""
    IN_FLIGHT.prepared = True
    IN_FLIGHT.pushing = options.holds
    prepare(holds=options.holds)


def budget(timeout: float | None, deadline: Deadline | None) -> float:
    """Return the seconds that a flush may take; below zero where the host leaves none.

    Args:
        timeout: What the user allows; None for the default.
        deadline: When the host ends the request; None where it does not.
    """
    if timeout is None:
        timeout = default_timeout()
    return affordable(timeout, None if deadline is None else deadline.remaining())
