"""What a telemetry destination has to offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from ctxkit.flushing.report import SinkOutcome


@runtime_checkable
class Sink(Protocol):
    """Stand for one destination of telemetry that buffers what it is given.

    A sink may have a method ``after_fork()``, called in the child when the process forked,
    and an attribute ``concurrency``, an int: how many calls of ``flush()`` it takes at once;
    1 where there is none. It is read again each time that it matters.

    Where it keeps connections, it may have ``on_thaw(gap)``, called when the process has stood
    still for ``gap`` seconds, ``before_snapshot()`` and ``after_restore()``. They must be quick.

    Attributes:
        name: What reports and logs call the sink. Unique in the process.
    """

    @property
    def name(self) -> str:
        """The name of the sink."""
        ...

    def pending(self) -> int | None:
        """Return how many items wait to be sent, those being sent right now included.

        Returns:
            0 if there is nothing to do, which ends the matter; None if nobody can tell.

        Safety:
            Called in the thread that asks for a flush, once for each flush: must be quick
            and must not block.
        """
        ...

    def flush(self, timeout: float) -> SinkOutcome | bool | None:
        """Send everything that waits, and come back when it is acknowledged.

        That includes what was taken up earlier and is under way: a call comes back when
        everything recorded before it began is acknowledged or lost, whoever sends it.

        Args:
            timeout: The seconds after which nobody waits any more; 0.1 at least, and the whole
                budget where a sink that failed is waited for less. Coming back later is no
                crime: the sink's own thread is all that is held up.

        Returns:
            How it ended. True stands for ok, False for failed, None for unverified.

        Safety:
            Called in threads that belong to the sink, in an empty context; never more than
            ``concurrency`` calls at a time. Whatever it raises becomes an ``error`` line of
            the report.
        """
        ...


def check(sink: Sink, taken: set[str]) -> None:
    """See whether ``sink`` can be added to those whose names are ``taken``.

    Raises:
        ConfigurationError: It cannot.
    """
    name = getattr(sink, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "add_sink()", f"got a sink whose name is {name!r}", "Give it a name, a string."
        )
    if name in taken:
        raise ConfigurationError(
            "add_sink()", f"got a second sink named {name!r}", "Give each sink its own name."
        )
    for method in ("pending", "flush"):
        if not callable(getattr(sink, method, None)):
            raise ConfigurationError(
                "add_sink()",
                f"got {sink!r}, which has no method {method}()",
                "See ctxkit.Sink for what a sink has to offer.",
            )
