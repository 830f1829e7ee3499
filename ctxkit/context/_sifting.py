"""What becomes of a frame where it is carried. Private."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ctxkit.context._current import CURRENT
from ctxkit.context._hops import HELD_UP
from ctxkit.context.frame import NO_FRAME, CallFrame, Frame, Lazy, restore_elsewhere
from ctxkit.context.lifetime import lifetime_of

if TYPE_CHECKING:
    from collections.abc import Collection, Generator


def known(frame: Frame) -> dict[str, object]:
    """Return the values of ``frame``, those that are computed at each reading unread."""
    return frame._values  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - same room


def only(frame: Frame, names: Collection[str]) -> Frame:
    """Return a frame that holds the values of these names and knows nothing else."""
    values = {name: frame[name] for name in names if name in frame}
    return Frame(values) if values else NO_FRAME


def copied(frame: Frame) -> Frame:
    """Return ``frame`` with copies of the values whose keys declare a ``copy``."""
    values = known(frame)
    copies: dict[str, object] = {}
    for name, key in [*HELD_UP.items()]:
        value = values.get(name, frame)
        if key.copy is not None and value is not frame and type(value) is not Lazy:
            copies[name] = key.copy(value)
    return frame.extended(copies) if copies else frame


def copy_values() -> None:
    """Do for the current context what :func:`copied` does for a frame."""
    frame = CURRENT.get(NO_FRAME)
    copy = copied(frame)
    if copy is not frame:
        CURRENT.set(copy)


def sent_to_thread(frame: Frame) -> Frame:
    """Return ``frame`` without the values that do not go to threads."""
    kept = {name for name, key in [*HELD_UP.items()] if "thread" not in key.hops}
    if kept.isdisjoint(known(frame)):
        return frame
    # The root too: what does not go along must not be found by way of it.
    root = sifted = frame.root
    if not kept.isdisjoint(known(root)):
        values = _without(root, kept)
        if isinstance(root, CallFrame):
            sifted = CallFrame.over(sent_to_thread(root.outer), values, root.deadline)
        else:
            sifted = Frame(values, deadline=root.deadline)
            sifted.children = root.children
        sifted.lifetime = lifetime_of(root)
    if frame is root:
        return sifted
    return Frame(_without(frame, kept), root=sifted, deadline=frame.deadline)


def sift_values() -> None:
    """Do for the current context what :func:`sent_to_thread` does for a frame."""
    frame = CURRENT.get(NO_FRAME)
    sifted = sent_to_thread(frame)
    if sifted is not frame:
        CURRENT.set(sifted)


@contextmanager
def laid(frame: Frame) -> Generator[None]:
    """Make ``frame`` the current one for the length of a with-block."""
    token = CURRENT.set(frame)
    try:
        yield
    finally:
        try:
            CURRENT.reset(token)
        except ValueError:
            restore_elsewhere(token, frame)


def handed_down(frame: Frame) -> dict[str, object]:
    """Return what a function sees of the frame of its caller: what would go to a thread."""
    return known(copied(sent_to_thread(frame)))


def _without(frame: Frame, names: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in known(frame).items() if name not in names}
