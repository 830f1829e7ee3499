"""Who bound what: recorded only while somebody watches. Private.

Nothing is traced until :func:`start`, which puts a shell around what binds values, and
:func:`stop` takes it away: when it is off, no other code runs than without this module. A
boundary, which no shell fits around, asks :attr:`Tracing.on`.
"""

from __future__ import annotations

import sys
import threading
from _thread import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ctxkit.context import NO_FRAME, Frame, Key
from ctxkit.context._current import CURRENT
from ctxkit.context._places import Place, place_of
from ctxkit.context.frame import _Bound  # pyright: ignore[reportPrivateUsage]

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_PACKAGE = __name__.partition(".")[0]
#: Modules that stand between who binds a value and what binds it.
_BETWEEN = frozenset(("contextlib", "functools"))


class Tracing:
    """Remember where each frame was bound, and tell those who watch.

    Attributes:
        on: Whether anybody watches.
    """

    def __init__(self) -> None:
        self.on = False
        self._lock = threading.RLock()
        self._watchers: list[Any] = []
        self._shells: list[tuple[type, str, object, object]] = []
        self._raised_in = 0
        self._places: WeakKeyDictionary[Frame, tuple[Place, ...]] = WeakKeyDictionary()

    def start(self, watcher: Any) -> None:
        """Tell ``watcher`` of each frame: ``bound(frame)``, then ``over(frame)``."""
        with self._lock:
            self._watchers = [*self._watchers, watcher]
            if not self.on:
                self.on = True
                self._put_shells()
                # So that a coroutine, and with it a task, knows where it was made.
                self._raised_in = 0
                if not sys.get_coroutine_origin_tracking_depth():
                    self._raised_in = get_ident()
                    sys.set_coroutine_origin_tracking_depth(1)

    def stop(self, watcher: Any) -> None:
        """Tell ``watcher`` nothing more; once nobody watches, be as before."""
        with self._lock:
            self._watchers = [each for each in self._watchers if each is not watcher]
            if self.on and not self._watchers:
                self.on = False
                for owner, name, original, shell in self._shells:
                    if vars(owner).get(name) is shell:
                        setattr(owner, name, original)
                self._shells.clear()
                # Each thread has a depth of its own, and asyncio's debug mode sets it, too.
                depth = sys.get_coroutine_origin_tracking_depth()
                if self._raised_in == get_ident() and depth == 1:
                    sys.set_coroutine_origin_tracking_depth(0)

    def bound(self, frame: Frame, before: Frame = NO_FRAME, place: Place | None = None) -> None:
        """Note that ``frame`` was laid over ``before``, here or at ``place``."""
        names = _laid(frame, before)
        if place is None:
            place = _caller()
        places = [
            each._replace(names=tuple(name for name in each.names if name not in names))
            for each in self._places.get(before, ())
        ]
        places.append(place._replace(names=names))
        self._places[frame] = tuple(each for each in places if each.names)
        for watcher in self._watchers:
            watcher.bound(frame)

    def over(self, frame: Frame) -> None:
        """Note that nothing should hold ``frame`` from now on."""
        for watcher in self._watchers:
            watcher.over(frame)

    def places(self, frame: Frame) -> tuple[Place, ...]:
        """Return where the values of ``frame`` were set, as far as it was traced."""
        return self._places.get(frame, ())

    def _put_shells(self) -> None:
        self._put(_Bound, "__enter__", _entering)
        self._put(_Bound, "__exit__", _leaving)
        self._put(Key, "set", _setting)

    def _put(self, owner: type, name: str, shell_around: Callable[[Any], Any]) -> None:
        original = vars(owner)[name]
        shell = shell_around(original)
        self._shells.append((owner, name, original, shell))
        setattr(owner, name, shell)


#: The tracing of this process.
TRACING = Tracing()


def _entering(enter: Any) -> Any:
    def __enter__(self: _Bound) -> Frame:  # noqa: N807 - takes its place
        before = CURRENT.get(NO_FRAME)
        frame: Frame = enter(self)
        TRACING.bound(frame, before)
        return frame

    return __enter__


def _leaving(leave: Any) -> Any:
    def __exit__(self: _Bound, *error: Any) -> None:  # noqa: N807 - takes its place
        leave(self, *error)
        TRACING.over(self)

    return __exit__


def _setting(set_value: Any) -> Any:
    def shell(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = CURRENT.get(NO_FRAME)
        result = set_value(self, *args, **kwargs)
        TRACING.bound(CURRENT.get(NO_FRAME), before)
        return result

    return shell


def _laid(frame: Frame, before: Frame) -> tuple[str, ...]:
    """Return the names whose values ``before`` did not have. No value is evaluated."""
    values, old = frame._values, before._values  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    nothing = object()
    return tuple(
        name
        for name in frame
        if name.isidentifier() and values.get(name, nothing) is not old.get(name, nothing)
    )


def _caller() -> Place:
    """Return the place in the code that called ctxkit."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    while frame is not None and _is_between(frame):
        frame = frame.f_back
    if frame is None:
        return Place("unknown", "", 0)
    return place_of(frame.f_code, frame.f_lineno)


def _is_between(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == _PACKAGE or module in _BETWEEN
