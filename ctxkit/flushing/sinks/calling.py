"""Anything that has a function to flush it."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ctxkit.flushing.report import SinkOutcome


@final
class CallableSink:
    """Flush by calling a function.

    For whatever client has one::

        from ctxkit.flushing import CallableSink, add_sink

        waiting = []
        add_sink(CallableSink("audit", waiting.clear, pending=waiting.__len__))

    Args:
        name: What reports and logs call the sink.
        flush: Sends what waits, and comes back when it is acknowledged. Called with the
            seconds that are left if it takes an argument. What it returns is read as
            :meth:`ctxkit.Sink.flush` says: None, as most clients return, for a flush that
            nobody can vouch for.
        pending: Says how many items wait. Without it nobody knows, and each request's end
            calls ``flush``.

    Raises:
        ConfigurationError: ``name`` is no text, or ``flush`` or ``pending`` cannot be called.

    Safety:
        ``flush`` is called in a thread of the sink's own, ``pending`` in that of whoever
        flushes, where it must not block.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[float], SinkOutcome | bool | None] | Callable[[], object],
        pending: Callable[[], int | None] | None = None,
    ) -> None:
        _check(name, flush, pending)
        self.name = name
        self._flush: Callable[..., object] = flush
        self._pending = pending
        self._timed = _takes_argument(flush)

    def __repr__(self) -> str:
        return f"CallableSink({self.name!r}, {self._flush!r})"

    def pending(self) -> int | None:
        """Return what ``pending`` says; None without it."""
        return None if self._pending is None else self._pending()

    def flush(self, timeout: float) -> SinkOutcome | bool | None:
        """Call ``flush``, and return what it returns."""
        # Whatever it is: the engine says what it makes of an answer of another kind.
        return self._flush(timeout) if self._timed else self._flush()  # type: ignore[return-value]


def _check(name: object, flush: object, pending: object) -> None:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(
            "CallableSink()", f"got the name {name!r}", "Give it a name, a string."
        )
    for role, function in (("flush", flush), ("pending", pending)):
        if not callable(function) and not (role == "pending" and function is None):
            raise ConfigurationError(
                "CallableSink()", f"got {function!r} as {role}", "Give it something to call."
            )


def _takes_argument(function: Callable[..., object]) -> bool:
    """Whether a positional argument may be given."""
    from inspect import signature  # noqa: PLC0415 - for the few who make such a sink

    try:
        signature(function).bind(0.0)
    except TypeError:
        return False
    except ValueError:  # written in C, and silent about it
        return False
    return True
