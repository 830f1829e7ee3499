"""What the sinks are told when the process was frozen, or is to be copied and restored."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctxkit import lifecycle
from ctxkit.flushing import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


def arm() -> None:
    """Have the functions below called by themselves when their time comes. Idempotent."""
    lifecycle.on_thaw(thawed)
    lifecycle.before_snapshot(before_snapshot)
    lifecycle.after_restore(after_restore)


def thawed(gap: float) -> None:
    """Tell every sink that the process stood still, so that it trusts no old connection.

    Calls ``on_thaw(gap)`` of each sink that has it. Boundaries do this by themselves.

    Args:
        gap: The seconds for which it did.

    Safety:
        Never raises, and waits for nothing. Call it before the first export after the freeze.
    """
    for told in _methods("on_thaw"):
        with suppress(Exception):  # no business of the request that comes next
            told(gap)


def before_snapshot() -> None:
    """Flush, and tell every sink that a snapshot is to be taken, to be restored many times over.

    Else every clone would send what was recorded before. Calls ``before_snapshot()`` of each
    sink that has it.

    Safety:
        Never raises. Blocks up to the default budget of a flush.
    """
    with suppress(Exception):
        engine.flush(reason="snapshot")
    for told in _methods("before_snapshot"):
        with suppress(Exception):
            told()


def after_restore() -> None:
    """Tell every sink that the process is restored from a snapshot, as others may be.

    Calls ``after_restore()`` of each sink that has it.

    Safety:
        Never raises.
    """
    for told in _methods("after_restore"):
        with suppress(Exception):
            told()


def _methods(name: str) -> Iterator[Any]:
    for sink in engine.sinks():
        method = getattr(sink, name, None)
        if callable(method):
            yield method
