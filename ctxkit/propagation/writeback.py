"""Write-back: the way home for what a thread has set, for those who ask for it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ctxkit.context import MISSING, NO_FRAME, Key
from ctxkit.context._current import CURRENT
from ctxkit.context._sifting import known
from ctxkit.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
Holder = Key[Any] | ContextVar[Any]


class Returning:
    """Watch what a function sets, and set it again where it was called from.

    Args:
        holders: The keys and context variables to watch.

    Raises:
        ConfigurationError: One of them is neither, or they are no collection.
    """

    def __init__(self, holders: Iterable[Holder]) -> None:
        self._holders = _checked(holders)
        self._here = [_read(holder) for holder in self._holders]
        self._before: list[object] = []
        self._changes: list[tuple[Holder, object, object]] = []

    def watched(self, f: Callable[..., T]) -> Callable[..., T]:
        """Return ``f``, noting what it changes; to be called where it runs."""

        def watching(*args: Any, **kwargs: Any) -> T:
            # No local variable may hold the values: a traceback would keep them.
            self._before = [_read(holder) for holder in self._holders]
            try:
                return f(*args, **kwargs)
            finally:
                self._note()

        return watching

    def _note(self) -> None:
        for holder, here, old in zip(self._holders, self._here, self._before, strict=True):
            new = _read(holder)
            if new is not old and new is not MISSING:
                self._changes.append((holder, here, new))
        self._here, self._before = [], []

    def write(self) -> None:
        """Set what was changed there, but for what was changed here in the meantime."""
        changes, self._changes = self._changes, []
        for holder, here, new in changes:
            if _read(holder) is here:
                holder.set(new)
            else:
                _warn(holder)


def _checked(holders: Iterable[Holder]) -> list[Holder]:
    try:
        given = [*cast("Iterable[object]", holders)]
    except TypeError:
        given = [cast("object", holders)]
        wrong = True
    else:
        wrong = isinstance(holders, str)
    if wrong or not all(isinstance(each, (Key, ContextVar)) for each in given):
        raise ConfigurationError(
            "writeback=",
            f"must be a collection of keys and context variables, not {holders!r}",
            "Write it like writeback=[TENANT], with TENANT = ctxkit.Key(...).",
        )
    return cast("list[Holder]", [*dict.fromkeys(given)])


def _read(holder: Holder) -> object:
    if isinstance(holder, ContextVar):
        return holder.get(MISSING)
    # By identity: a value that is computed at each reading is told by what computes it.
    return known(CURRENT.get(NO_FRAME)).get(holder.name, MISSING)


def _warn(holder: Holder) -> None:
    import warnings  # noqa: PLC0415 - only on the way to a warning

    warnings.warn(
        f"writeback: {holder.name!r} was set in the thread and here meanwhile; the value that "
        "was set here is kept. Await the thread before you set it.",
        RuntimeWarning,
        stacklevel=2,
    )
