"""Which thread this is. Private."""

from __future__ import annotations

from _thread import _local  # pyright: ignore[reportPrivateUsage] - threading is heavy

_mine = _local()


def here() -> object:
    """Return what stands for this thread and, unlike its ident, never for a later one."""
    try:
        mark: object = _mine.mark
    except AttributeError:
        mark = _mine.mark = object()
    return mark
