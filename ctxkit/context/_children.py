"""What was started in a frame, and may be alive when that is over. Private.

Whoever starts something (a task, a thread, a job) notes it here, if the outermost frame of the
moment is one that will be asked for it. Nothing is kept alive by that.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import ref

from ctxkit.context._current import CURRENT
from ctxkit.context._places import own_code
from ctxkit.context.frame import NO_FRAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Context
    from types import CodeType

    from ctxkit.context.frame import Frame

#: The most that one frame remembers at once; what has ended makes room.
LIMIT: Final = 256


class Child(NamedTuple):
    """Remember one thing that was started.

    Attributes:
        what: A reference to it: a task, a thread, a future or another result to come.
        code: The code that started it, if that is known.
        line: The line of that.
        since: When, on the clock of :func:`time.monotonic`.
    """

    what: ref[Any]
    code: CodeType | None
    line: int
    since: float

    def living(self) -> Any:
        """Return what was started, unless it has ended."""
        what = self.what()
        return None if what is None or has_ended(what) else what


class Children(list[Child]):
    """Know what was started in the frames of one request or invocation.

    The outermost frame has it, and what is carried of that frame to another thread, too.

    Safety:
        Any thread may note at any time. Two that find it full at once may take one place.

    Attributes:
        ended: True when the outermost frame was closed; not set before.
        unnoted: How many there was no room for; not set if there was.
    """

    __slots__ = ("ended", "unnoted")

    ended: bool
    unnoted: int

    def note(self, what: object) -> None:
        """Remember ``what``, which was started now by the code that called ctxkit."""
        code, line = own_code() or (None, 0)
        child = Child(ref(what), code, line, monotonic())
        if len(self) < LIMIT:
            self.append(child)
            return
        for place, each in enumerate(self):
            if each.living() is None:
                self[place] = child
                return
        self.unnoted = getattr(self, "unnoted", 0) + 1

    def living(self) -> Iterator[tuple[Child, Any]]:
        """Yield what has not ended, with what is remembered of it."""
        for child in [*self]:
            what = child.living()
            if what is not None:
                yield child, what


class Noting:
    """Know whether anybody asks for what was started: a boundary that cares for leftovers.

    Attributes:
        on: It is off, and nothing is noted, until the first such boundary is made.
    """

    __slots__ = ("on",)

    def __init__(self) -> None:
        self.on = False


#: For this process. Ask it before :func:`note`: where it is off, starting costs what it did.
NOTING: Final = Noting()


def note(what: object) -> None:
    """Remember that ``what`` was started in the current frame, if that wants to know."""
    children = CURRENT.get(NO_FRAME).root.children
    if children is not None:
        children.note(what)


def note_in(context: Context, what: object) -> None:
    """Remember that ``what`` was started by whoever is in ``context``."""
    children = context.get(CURRENT, NO_FRAME).root.children
    if children is not None:
        children.note(what)


def lives_past(frame: Frame) -> bool:
    """Tell whether work goes on in a frame whose request or invocation is over."""
    children = frame.root.children
    return children is not None and hasattr(children, "ended")


def has_ended(what: Any) -> bool:
    """Tell whether a task, a thread or a result to come has come to its end."""
    alive = getattr(what, "is_alive", None)
    if alive is not None:
        return not alive()
    done = getattr(what, "done", None) or what.ready  # the latter of multiprocessing's results
    return bool(done())
