"""The occasions in the life of a process, and who waits for them. Private."""

from __future__ import annotations

from contextlib import ExitStack
from functools import update_wrapper
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, final

from ctxkit.exceptions import ConfigurationError
from ctxkit.lifecycle._holding import COROUTINE, code_flags

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


@final
class Hook(Generic[P, R]):
    """Stand for a function and the occasion that it waits for.

    Calling it calls the function, so a decorated function stays what it was.

    Args:
        occasion: When it is called.
        function: The function.
        after: The seconds that a freeze has to last, for those that wait for a thaw.
    """

    def __init__(self, occasion: Occasion, function: Callable[P, R], after: float = 0.0) -> None:
        update_wrapper(self, function, updated=())
        self.function = function
        self.after = after
        self._occasion = occasion

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<{self._occasion.title} hook {self.function!r}>"

    def remove(self) -> None:
        """Take it off. Idempotent."""
        self._occasion.remove(self)


@final
class Occasion:
    """Hold the hooks that wait for one kind of event.

    Args:
        title: What users call it: the name of the function that registers.
        last_first: Whether the last registered runs first, as befits an end.
    """

    __slots__ = ("_last_first", "_lock", "hooks", "title")

    def __init__(self, title: str, *, last_first: bool = False) -> None:
        self.title: str = title
        self._last_first = last_first
        self._lock = RLock()
        #: In the order in which they run. Replaced as a whole, so readers need no lock.
        self.hooks: tuple[Hook[Any, Any], ...] = ()

    def add(self, function: Callable[P, R], after: float = 0.0) -> Hook[P, R]:
        """Register ``function``, once however often it is given."""
        _check(self.title, function)
        with self._lock:
            for known in self.hooks:
                if known.function == function and known.after == after:
                    return known
            hook = Hook(self, function, after)
            self.hooks = (hook, *self.hooks) if self._last_first else (*self.hooks, hook)
        return hook

    def remove(self, hook: Hook[Any, Any]) -> None:
        """Take ``hook`` off."""
        with self._lock:
            self.hooks = tuple(other for other in self.hooks if other is not hook)

    def run(self, *args: object) -> None:
        """Call every hook; see :func:`run_shutdown` for what becomes of errors."""
        self.run_some(self.hooks, *args)

    def run_some(self, hooks: tuple[Hook[Any, Any], ...], *args: object) -> None:
        """Call these of the hooks."""
        if hooks:
            with ExitStack() as stack:
                for hook in reversed(hooks):
                    stack.callback(self._call, hook, args)

    def revive(self) -> None:
        """Forget, in a forked child, who held the lock."""
        self._lock = RLock()

    def _call(self, hook: Hook[Any, Any], args: tuple[object, ...]) -> None:
        try:
            hook.function(*args)
        except Exception:
            import logging  # noqa: PLC0415 - an unhappy path must not cost each cold start

            event = self.title.removeprefix("on_")
            logging.getLogger("ctxkit").exception("ctxkit.%s.failed: %r", event, hook.function)


INIT: Final = Occasion("on_init")
THAW: Final = Occasion("on_thaw")
RESET: Final = Occasion("on_reset")
SNAPSHOT: Final = Occasion("before_snapshot", last_first=True)
RESTORE: Final = Occasion("after_restore")
SHUTDOWN: Final = Occasion("on_shutdown", last_first=True)

OCCASIONS: Final = (INIT, THAW, RESET, SNAPSHOT, RESTORE, SHUTDOWN)


def _check(title: str, function: object) -> None:
    if not callable(function):
        raise ConfigurationError(
            f"{title}()", f"got {function!r}, which cannot be called", "Give it a function."
        )
    if code_flags(function) & COROUTINE:
        raise ConfigurationError(
            f"{title}()",
            f"got {function!r}, a coroutine function, and nothing would await it",
            "Give it a plain function.",
        )


def checked_seconds(setting: str, value: object) -> float:
    """Return ``value``, or say why it is no number of seconds.

    Raises:
        ConfigurationError: ``value`` is no number, or below zero.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return value
    raise ConfigurationError(
        setting, f"must be a number of seconds, zero or more, not {value!r}", "Write it like 10.0."
    )
