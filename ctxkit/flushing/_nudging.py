"""Pushing out what is finished while its request still runs, so that less is left at its end.

Apart from the engine, which sets it up, so that sinks can call it.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between the first nudge and the push, and so the least time between two pushes.
#: What ends earlier is not worth an export of its own: its flush takes everything along.
INTERVAL: Final = 0.1

# When a nudge becomes a push; 0.0 before the first nudge, without end where nobody pushes.
_due = inf
_push: Callable[[], object] | None = None


def nudge() -> None:
    """Note that something was recorded, and push it out if that is due.

    Costs some hundred nanoseconds as long as it is not. Called where a sink's SDK queued a
    record, and between the parts of a response. Nothing happens in a process that holds no
    responses.

    Safety:
        Never waits and never raises. Any thread may call it, an event loop's too; a sink
        must not call it while it holds what its own ``pending()`` needs.
    """
    now = monotonic()
    if now >= _due:
        _elapse(now)


def arm(push: Callable[[], object]) -> None:
    """Have ``push`` called for nudges from now on; it must neither block nor raise."""
    global _due, _push  # noqa: PLW0603 - one engine per process, so one of these
    _push = push
    if _due == inf:
        _due = 0.0


def rest() -> None:
    """Note that everything is being flushed: only what comes later is to be pushed."""
    global _due  # noqa: PLW0603 - as above
    if _due != inf:
        _due = 0.0


def _elapse(now: float) -> None:
    # Two threads may come here at once: then there are two pushes, and the second is idle.
    global _due  # noqa: PLW0603 - as above
    if _due == 0.0:
        _due = now + INTERVAL
    elif _push is not None:
        _due = 0.0
        _push()
