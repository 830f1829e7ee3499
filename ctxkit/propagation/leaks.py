"""Leaks: what is still held of work that is over, by whom, and who set it."""

from __future__ import annotations

import gc
from contextvars import copy_context
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar, final
from weakref import ref

from ctxkit.context import NO_FRAME, Frame, current
from ctxkit.context._places import Place  # noqa: TC001 - named in the reference
from ctxkit.exceptions import ConfigurationError
from ctxkit.propagation._holders import ends
from ctxkit.propagation._paths import frames_below, holder_at, thread_name
from ctxkit.propagation._referrers import Walk
from ctxkit.propagation._tracing import TRACING
from ctxkit.propagation._words import ADVICE, Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextvars import Context
    from types import TracebackType


T = TypeVar("T")

#: The most leaks that one search reports.
LIMIT = 20

_UNSEEN = "something out of the garbage collector's sight: C code, or a function that runs"


@final
class Leak(NamedTuple):
    """Tell of one holder of what should be forgotten. Names and places, never values.

    ``str(leak)`` is the sentence for a person.

    Attributes:
        keys: The names of the values that are held.
        kind: What holds them: "task", "handle" (a callback that a loop will call), "job" (a
            pool's), "future", "connection", "thread", "generator", "snapshot", "exception",
            "context" (the one that is current), or "object".
        holder: What the holder is called, and where it is.
        advice: What to do about it.
        set_at: Where the values were set; empty if nobody watched then.
        passing: Why the holder is nobody's mistake, or empty: "cancelled", a timer that its
            loop keeps until it was due; "server", what serves a connection; "record", a log
            record.
    """

    keys: tuple[str, ...]
    kind: str
    holder: str
    advice: str
    set_at: tuple[Place, ...] = ()
    passing: str = ""

    def __str__(self) -> str:
        names = ", ".join(self.keys) or "an empty frame"
        where = "; ".join(f"{', '.join(p.names)} by {p}" for p in self.set_at if p.names)
        place = f" (set: {where})" if where else ""
        return f"{names}{place} held by {self.holder}. {self.advice}"


def find_leaks(*frames: Frame | ref[Frame]) -> list[Leak]:
    """Return who still holds ``frames``, which should be forgotten.

    ::

        with ctxkit.bind(tenant="acme") as frame:
            snapshot = ctxkit.capture()
        [leak] = ctxkit.find_leaks(frame)
        assert leak.kind == "snapshot"

    Args:
        frames: Frames that are over, or weak references to them. Dead ones are fine.

    Returns:
        A :class:`Leak` for each holder, those nearest to the frames first, at most 20;
        empty if there is none. Local variables of the functions that call this do not count.

    Raises:
        ConfigurationError: Something else than frames was given.

    Safety:
        Runs the garbage collector, and looks at every object of the process some ten times:
        tens of milliseconds, up to a second or two with millions of objects. No value is
        evaluated or compared. On free-threaded builds a thread is not named where only its
        current context holds a frame.
    """
    given: Sequence[object] = frames
    for frame in given:
        if not issubclass(type(frame), (Frame, ref)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                "find_leaks",
                f"was given a {type(frame).__name__}",
                "Give it frames: what ctxkit.current() returns.",
            )
    weak = [frame if isinstance(frame, ref) else ref(frame) for frame in frames]
    return search(weak, frames)


def left_behind(before: Context | None = None) -> list[Leak]:
    """Return what is set in the current context, where nothing should be.

    To be called outside of every boundary and ``bind``: between requests, after a test.

    Args:
        before: A copy of this context from earlier (:func:`contextvars.copy_context`). With
            it, every ``ContextVar`` that was set since counts too; None: only the frame.

    Returns:
        One :class:`Leak` for the frame, and one for each variable.
    """
    found: list[Leak] = []
    place = f"the current context of {thread_name()}"
    frame = current()
    if frame is not (NO_FRAME if before is None else before.run(current)) and len(frame):
        advice = ADVICE["context"]
        found.append(Leak(_names((frame,)), "context", place, advice, TRACING.places(frame)))
    if before is not None:
        for variable, value in copy_context().items():
            if not issubclass(type(value), Frame) and before.get(variable, found) is not value:
                text = f"{place}, as the ContextVar {variable.name!r}"
                found.append(Leak((variable.name,), "context", text, ADVICE["context"]))
    return found


@final
class LeakWatch:
    """Watch the frames that are bound in a with-block, and tell which are still held.

    ::

        with ctxkit.LeakWatch() as watch:
            with ctxkit.bind(tenant="acme"):
                snapshot = ctxkit.capture()
        [leak] = watch.leaks()
        assert leak.keys == ("tenant",)

    Context:
        Sees the frames of the whole process: each ``bind`` and each request of a boundary,
        in every thread and task. While it watches, binding is slower by some microseconds,
        and coroutines remember where they were made; before and after, nothing is.

    Safety:
        Keeps nothing alive. May be used by several threads, several at once, once each.
    """

    def __init__(self) -> None:
        # Appended to by any thread; nothing is ever taken out.
        self._bound: list[ref[Frame]] = []
        self._over: list[ref[Frame]] = []
        self._watching = False

    def __enter__(self) -> Self:
        self._watching = True
        TRACING.start(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Watch no longer; what was seen is remembered. Idempotent."""
        self._watching = False
        TRACING.stop(self)

    def bound(self, frame: Frame) -> None:
        """Note a frame. Called by what binds it."""
        self._bound.append(ref(frame))

    def over(self, frame: Frame) -> None:
        """Note that a frame's block was left. Called by what bound it."""
        self._over.append(ref(frame))

    def leaks(self) -> list[Leak]:
        """Return who still holds the frames that were bound.

        While it watches, those whose own block was left; afterwards all. Holders that are
        :attr:`Leak.passing` are left out.

        Safety:
            As :func:`find_leaks`, if any frame is still there; next to nothing otherwise.
        """
        weak = self._over if self._watching else self._bound
        found = search([each for each in weak if each() is not None])
        return [leak for leak in found if not leak.passing]


def search(
    weak: Sequence[ref[Frame]], given: Sequence[object] = (), *, spare: object = None
) -> list[Leak]:
    """Return who holds frames.

    Args:
        weak: The frames.
        given: What of the caller's holds them, too.
        spare: A holder that is in its right.
    """
    if any(each() is not None for each in weak):
        gc.collect()
    alive = [frame for frame in dict.fromkeys(each() for each in weak) if frame is not None]
    if not alive:
        return []
    walk = Walk(alive, ends(), (given,))
    found: dict[int, Leak] = {}
    last = walk.ends()
    for end in last:
        holder = holder_at(end, walk.running)
        if holder is None or (holder.real is spare is not None) or len(found) == LIMIT:
            continue
        key = id(end.obj if holder.real is None else holder.real)
        leak = _leak(holder, frames_below(end))
        known = found.get(key)
        if known is not None:  # a task, say, that wakes by a timer in the same context
            keys, places = _merged(known.keys, leak.keys), _merged(known.set_at, leak.set_at)
            leak = known._replace(keys=keys, set_at=places)
        found[key] = leak
    if not (found or given or walk.passed) and all(end.below is None for end in last):
        unseen = [each for each in alive if walk.running.variable(each, here=True) is None]
        if unseen:
            found[0] = _leak(Holder("object", _UNSEEN), unseen)
    return [*dict.fromkeys(found.values())]


def _leak(holder: Holder, frames: Sequence[Frame]) -> Leak:
    places = _merged(*(TRACING.places(frame) for frame in frames))
    advice = holder.advice or ADVICE[holder.kind]
    return Leak(_names(frames), holder.kind, holder.text, advice, places, holder.passing)


def _names(frames: Iterable[Frame]) -> tuple[str, ...]:
    return _merged(*(tuple(name for name in frame if name.isidentifier()) for frame in frames))


def _merged(*parts: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(each for part in parts for each in part))
